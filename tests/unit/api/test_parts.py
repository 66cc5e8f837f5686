"""The small parts behind the HTTP interface."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent_service import audit
from agent_service.audit import AuditLog
from agent_service.notify import notify, watchdog_seconds
from agent_service.tls import subject_name
from agent_service.usage import UsageMeter


def test_audit_is_read_back_in_order_and_bounded(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    assert log.read(10) == ()
    for number in range(500):
        log.append("tester", f"what {number}", {"long": "x" * 300}, "ok")
    assert [entry.what for entry in log.read(3)] == ["what 497", "what 498", "what 499"]
    assert len(log.read(1000)) == 500


def test_audit_files_are_bounded_put_aside_and_never_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.append("tester", "0", {}, "ok")
    monkeypatch.setattr(audit, "MAX_BYTES", 4 * path.stat().st_size + 3)
    for number in range(1, 10):
        log.append("tester", str(number), {}, "ok")
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "audit.jsonl",
        "audit.jsonl.1",
        "audit.jsonl.2",
    ]
    assert all(item.stat().st_size <= audit.MAX_BYTES for item in tmp_path.iterdir())
    assert [entry.what for entry in log.read(1000)] == [str(number) for number in range(10)]
    assert [entry.what for entry in log.read(6)] == ["4", "5", "6", "7", "8", "9"]
    before = (tmp_path / "audit.jsonl.1").read_bytes()
    log.append("tester", "10", {}, "ok")
    assert (tmp_path / "audit.jsonl.1").read_bytes() == before
    for number in range(11, 40):
        log.append("tester", str(number), {}, "ok")
    assert len(list(tmp_path.iterdir())) == 1 + audit.KEPT, "the oldest goes"
    assert [entry.what for entry in log.read(1000)][-1] == "39"


def test_audit_survives_a_torn_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.append("tester", "first", {}, "ok")
    path.write_bytes(path.read_bytes() + b'{"realtime_ns": 1, "who"')
    log.append("tester", "second", {}, "ok")
    assert [entry.what for entry in log.read(10)] == ["first", "second"]
    assert "torn" in caplog.text


def test_audit_on_a_full_disk_goes_to_the_log_instead(caplog: pytest.LogCaptureFixture) -> None:
    AuditLog(Path("/dev/full")).append("tester", "heal", {}, "healed")
    assert "No space left" in caplog.text
    assert "heal" in caplog.text


def test_audit_is_for_root_alone_and_follows_no_link(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    AuditLog(path).append("tester", "a", {}, "ok")
    assert path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    AuditLog(link).append("tester", "a", {}, "ok")
    assert not (tmp_path / "elsewhere").exists()
    assert "symbolic links" in caplog.text


def test_usage_of_a_process_and_of_one_that_is_gone(tmp_path: Path) -> None:
    meter = UsageMeter(tmp_path / "not" / "yet")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    usage = meter.read(child.pid).member
    assert usage is not None
    assert usage.pid == child.pid
    assert usage.open_files >= 1
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = meter.read(child.pid).member
    child.communicate()
    assert zombie is None
    assert meter.read(child.pid).member is None


def test_cpu_percent_covers_the_time_since_the_last_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([(10.0, 100.0), (15.0, 110.0), (15.0, 110.0), (17.0, 111.0), (16.0, 112.0)])
    monkeypatch.setattr("agent_service.usage._cpu_seconds", lambda: next(readings))
    meter = UsageMeter(tmp_path)
    # The kernel's counters of idle time go back at times: never more than all, never less than nothing.
    assert [meter.read(None).cpu_percent for _ in range(4)] == [50.0, 0.0, 100.0, 0.0]


@pytest.mark.parametrize("abstract", [False, True])
def test_notify_reaches_both_kinds_of_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool
) -> None:
    name = f"@etcd-chaos-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [("3000000", None, 1.5), ("3000000", "1", None), ("", None, None), ("0", None, None), ("x", None, None)],
)
def test_watchdog_interval(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str | None, expected: object
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert watchdog_seconds() == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (((("commonName", "a"),),), "a"),
        (((("organizationName", "o"),), (("commonName", "a"),)), "a"),
        (((("commonName", "a"),), (("commonName", "b"),)), None),
        (((("commonName", "a"), ("commonName", "b")),), None),
        ((), None),
        (None, None),
    ],
)
def test_subject_name(subject: object, expected: object) -> None:
    assert subject_name({"subject": subject}) == expected
