from __future__ import annotations

import asyncio
import hashlib
import tarfile
from typing import TYPE_CHECKING

import pytest

from tester.errors import InfrastructureError, InventoryError
from tester.orchestration.builds import fetch_build, find_build, version_order
from tester.orchestration.sources import PathSource, ReleaseSource, parse_sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def binaries(folder: Path, version: str = "3.5.16", names: tuple[str, ...] = ("etcd", "etcdctl")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def silent(text: str) -> None:
    pass


async def test_a_path_is_copied_once_and_found_again(tmp_path: Path) -> None:
    source = PathSource(source="path", path=str(binaries(tmp_path / "mine")))
    cache = tmp_path / "cache"
    build = await fetch_build(source, cache, silent)
    assert (build.version, build.fetched) == ("3.5.16", True)
    assert build.bin == cache / "etcd" / "3.5.16" / "bin"
    assert sorted(path.name for path in build.bin.iterdir()) == ["etcd", "etcdctl"]
    again = await fetch_build(source, cache, silent)
    assert not again.fetched
    assert again.sha256 == build.sha256
    assert not list((cache / "etcd").glob(".fetch-*"))


async def test_a_path_that_was_built_anew_is_copied_anew(tmp_path: Path) -> None:
    source = PathSource(source="path", path=str(binaries(tmp_path / "mine")), version="mine")
    first = await fetch_build(source, tmp_path, silent)
    (tmp_path / "mine" / "etcdctl").write_text("#!/bin/sh\necho changed\n")
    assert find_build(source, tmp_path) is None
    second = await fetch_build(source, tmp_path, silent)
    assert second.fetched
    assert second.bin == first.bin
    assert second.sha256["etcdctl"] != first.sha256["etcdctl"]


async def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    source = PathSource(source="path", path=str(binaries(tmp_path / "mine")))
    builds = await asyncio.gather(*(fetch_build(source, tmp_path, silent) for _ in range(3)))
    assert sorted(build.fetched for build in builds) == [False, False, True]


async def test_two_sources_of_one_version_must_be_the_same(tmp_path: Path) -> None:
    one = PathSource(source="path", path=str(binaries(tmp_path / "one")))
    twin = PathSource(source="path", path=str(binaries(tmp_path / "twin")))
    other = PathSource(
        source="path", path=str(binaries(tmp_path / "other", names=("etcd", "etcdctl", "etcdutl")))
    )
    await fetch_build(one, tmp_path, silent)
    assert (await fetch_build(twin, tmp_path, silent)).version == "3.5.16"
    assert not (await fetch_build(one, tmp_path, silent)).fetched
    assert not (await fetch_build(twin, tmp_path, silent)).fetched
    with pytest.raises(InfrastructureError, match=r"3\.5\.16 of .*other is not the one of .*one and .*twin"):
        await fetch_build(other, tmp_path, silent)
    labelled = other.model_copy(update={"version": "3.5.16-other"})
    assert (await fetch_build(labelled, tmp_path, silent)).version == "3.5.16-other"


async def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    there = binaries(tmp_path / "etcd" / "3.5.16" / "bin", version="other")
    source = PathSource(source="path", path=str(binaries(tmp_path / "mine")))
    with pytest.raises(InfrastructureError, match="somebody else"):
        await fetch_build(source, tmp_path, silent)
    assert "other" in (there / "etcd").read_text()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "etcdctl").unlink(), "there is no etcdctl"),
        (lambda folder: (folder / "etcd").write_text("#!/bin/sh\necho hello\n"), "does not say its version"),
        (
            lambda folder: (folder / "etcd").write_bytes(b"\x7fELF\x02 of another machine"),
            "Exec format error",
        ),
        (
            lambda folder: (folder / "etcd").write_text("#!/bin/sh\necho no >&2; exit 3\n"),
            "exit status 3\nno",
        ),
    ],
)
async def test_a_build_that_does_not_work_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = binaries(tmp_path / "mine")
    spoil(folder)
    with pytest.raises(InfrastructureError, match=message):
        await fetch_build(PathSource(source="path", path=str(folder)), tmp_path / "cache", silent)
    assert not list((tmp_path / "cache" / "etcd").glob("[!.]*"))


async def test_a_release_must_have_the_sum_that_was_said(tmp_path: Path) -> None:
    archive = tmp_path / "etcd-v3.5.16-linux-amd64.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(binaries(tmp_path / "etcd-v3.5.16-linux-amd64"), "etcd-v3.5.16-linux-amd64")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    source = ReleaseSource(source="release", url=f"file://{archive}", sha256=sha256)
    assert (await fetch_build(source, tmp_path / "cache", silent)).version == "3.5.16"
    wrong = source.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(InfrastructureError, match=f"SHA-256 is {sha256}"):
        await fetch_build(wrong, tmp_path / "cache", silent)


def test_sources_are_validated_all_at_once() -> None:
    with pytest.raises(InventoryError) as caught:
        parse_sources(
            [
                {"source": "debian", "suite": "trixie"},
                {"source": "pypy", "version": "3.5.1"},
                {"source": "release", "url": "http://example/x.tar.gz", "sha256": "abc"},
                {"source": "path", "path": "relative", "colour": "red"},
            ]
        )
    lines = caught.value.message.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "etcd_builds[1]",
        *["etcd_builds[2]"] * 2,
        *["etcd_builds[3]"] * 2,
    ]


@pytest.mark.parametrize("suite", ["../../etc", "sid main", "sid]", "-o"])
def test_a_suite_cannot_become_anything_else(suite: str) -> None:
    with pytest.raises(InventoryError):
        parse_sources([{"source": "debian", "suite": suite}])


def test_versions_are_ordered_as_people_read_them() -> None:
    versions = ["3.5.16-mine", "3.5.9", "3.10.0", "3.5.16", "3.4.23"]
    assert sorted(versions, key=version_order) == ["3.4.23", "3.5.9", "3.5.16", "3.5.16-mine", "3.10.0"]
