from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from agent_service import allowlist, builds
from agent_service.errors import RefusedError, UnavailableError
from agent_service.failpoints import has_failpoints

if TYPE_CHECKING:
    from pathlib import Path


def install(root: Path, version: str, mode: int = 0o755) -> Path:
    path = root / version / "bin" / "etcd"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/true\n")
    path.chmod(mode)
    return path


def test_allowed() -> None:
    allowlist.check_flags({"snapshot-count": "1", "quota-backend-bytes": "2"})
    allowlist.check_variables({"GOGC": "1"})


@pytest.mark.parametrize(
    "flag",
    [
        "data-dir",
        "wal-dir",
        "name",
        "config-file",
        "listen-client-urls",
        "listen-peer-urls",
        "listen-metrics-urls",
        "initial-cluster",
        "force-new-cluster",
        "log-outputs",
        "logger",
        "enable-pprof",
        "discovery",
        "cert-file",
        "peer-trusted-ca-file",
        "log-rotation-config-json",
    ],
)
def test_what_the_agent_sets_or_must_not_be_set_is_refused(flag: str) -> None:
    with pytest.raises(RefusedError, match=flag) as caught:
        allowlist.check_flags({"snapshot-count": "1", flag: "x"})
    assert "snapshot-count" in (caught.value.remedy or "")


@pytest.mark.parametrize("name", ["ETCD_DATA_DIR", "LD_PRELOAD", "PATH", "GOFAIL_HTTP", "GODEBUGX"])
def test_variables_that_are_flags_or_worse_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=name):
        allowlist.check_variables({name: "x"})


def test_versions_are_ordered_as_people_read_them(tmp_path: Path) -> None:
    for version in ("3.5.16", "3.5.9", "3.6.0-rc.1", "3.6.0", "3.4.23"):
        install(tmp_path, version)
    install(tmp_path, "3.7.0", mode=0o644)
    (tmp_path / "3.8.0").mkdir()
    assert builds.installed_versions(tmp_path) == ("3.4.23", "3.5.9", "3.5.16", "3.6.0-rc.1", "3.6.0")
    assert builds.installed_versions(tmp_path / "missing") == ()


def test_a_missing_version_and_one_that_cannot_be_executed(tmp_path: Path) -> None:
    there = install(tmp_path, "3.5.1")
    install(tmp_path, "3.5.2", mode=0o644)
    assert builds.etcd_binary(tmp_path, "3.5.1") == there
    with pytest.raises(UnavailableError, match=r"not installed.*installed: 3\.5\.1"):
        builds.etcd_binary(tmp_path, "3.9.9")
    with pytest.raises(UnavailableError, match="not executable"):
        builds.etcd_binary(tmp_path, "3.5.2")


def test_an_etcd_with_failpoints_is_told_without_reading_it_into_memory(tmp_path: Path) -> None:
    size = 8 * 1024**2
    plain, built, empty = (tmp_path / name for name in ("plain", "built", "empty"))
    plain.write_bytes(bytes(size))
    built.write_bytes(bytes(size) + b"GOFAIL_HTTP" + bytes(10))
    empty.touch()
    tracemalloc.start()
    try:
        told = [has_failpoints(path) for path in (plain, built, empty, tmp_path / "missing")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told == [False, True, False, False]
    assert peak < size / 8
