"""The member's life on real etcd: start, ends of every kind, pause, archive, terminate."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_service.errors import IllegalStateError, NotFoundError, RefusedError, UnavailableError
from agent_service.models import ArchiveRequest, MemberState
from agent_service.ownership import MARKER
from agent_service.processes import is_alive, is_stopped
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from agent_service.member import MemberControl
    from agent_service.settings import AgentSettings

pytestmark = pytest.mark.etcd

PATIENCE_SECONDS = 20.0


async def until_exits(member: MemberControl, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while member.status().exits_total < count:  # noqa: ASYNC110 - a state is asked for, as a client would
            await asyncio.sleep(0.002)


def proc_strings(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}").read_text().rstrip("\0").split("\0")


def names(directory: str | Path) -> set[str]:
    return {path.name for path in Path(directory).iterdir()}


async def test_started_once(member: MemberControl, version: str) -> None:
    spec = member_spec(version, flags={"snapshot-count": "5000"}, env={"GOGC": "90"})
    status = await member.start(spec)
    assert status.state is MemberState.RUNNING
    assert status.pid is not None
    assert (await member.start(spec)).pid == status.pid, "the same again is the same"
    assert "--snapshot-count=5000" in proc_strings(status.pid, "cmdline")
    environment = set(proc_strings(status.pid, "environ"))
    assert "GOGC=90" in environment
    assert environment <= {"GOGC=90", "LC_CTYPE=C.UTF-8"}, "nothing of the agent's environment leaks"
    with pytest.raises(IllegalStateError) as caught:
        await member.start(member_spec(version))
    assert caught.value.state == "running"
    assert status.data_dir is not None
    assert (Path(status.data_dir) / MARKER).exists()
    assert (status.data_bytes or 0) > 0
    assert '"msg"' in member.log_tail(5).lines[-1]


async def test_each_end_is_recorded_with_its_cause(member: MemberControl, version: str) -> None:
    spec = member_spec(version)
    await member.start(spec)
    await member.stop(10.0, "stop")
    await member.restart(10.0, "restart")
    await member.kill("fault f1")
    await member.restart(10.0, "restart")
    status = await member.quit("quit")
    assert status.state is MemberState.STOPPED
    assert [(exit_.cause, exit_.code, exit_.signal, exit_.expected) for exit_ in status.exits] == [
        ("stop", None, signal.SIGTERM, True),
        ("fault f1", None, signal.SIGKILL, True),
        ("quit", 2, None, True),
    ]
    assert any("goroutine" in line for line in member.log_tail(10_000).lines)
    for end in (member.stop(1.0, "again"), member.kill("again"), member.quit("again")):
        assert (await end).exits_total == 3, "ending what has ended changes nothing"


async def test_an_end_that_nobody_asked_for(member: MemberControl, version: str) -> None:
    await member.start(member_spec(version))
    process = member.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await until_exits(member, 1)
    status = member.status()
    assert (status.state, status.pid) == (MemberState.EXITED, None)
    (last,) = status.exits
    assert (last.expected, last.cause, last.signal) == (False, "unexpected", signal.SIGKILL)
    assert any('"msg"' in line for line in last.log_tail)
    assert (await member.stop(1.0, "stop")).state is MemberState.EXITED, "history is not rewritten"
    with pytest.raises(IllegalStateError) as caught:
        await member.pause()
    assert caught.value.state == "exited"
    assert (await member.restart(1.0, "restart")).state is MemberState.RUNNING


async def test_paused_and_resumed(member: MemberControl, any_version: str) -> None:
    await member.start(member_spec(any_version))
    process = member.process
    assert process is not None
    for _ in range(2):
        assert (await member.pause()).state is MemberState.PAUSED
    assert is_stopped(process)
    with pytest.raises(IllegalStateError):
        await member.start(member_spec(any_version))
    for _ in range(2):
        assert (await member.resume()).state is MemberState.RUNNING
    assert not is_stopped(process)
    await member.pause()
    status = await member.stop(PATIENCE_SECONDS, "stop")
    assert status.exits[-1].signal == signal.SIGTERM, "a paused member sees SIGTERM within the grace"


async def test_a_grace_that_is_over_at_once(member: MemberControl, any_version: str) -> None:
    await member.start(member_spec(any_version))
    process = member.process
    assert process is not None
    status = await member.stop(0.0, "stop")
    assert status.exits[-1].signal in {signal.SIGTERM, signal.SIGKILL}
    assert status.exits[-1].expected
    assert not is_alive(process)


@pytest.mark.parametrize("flags", [{"snapshot-count": "many"}, {"heartbeat-interval": "5000"}])
async def test_etcd_that_dies_at_once_is_reported_with_its_words(
    member: MemberControl, version: str, flags: dict[str, str]
) -> None:
    with pytest.raises(RefusedError, match=r"ended with (status|signal) .*") as caught:
        await member.start(member_spec(version, flags=flags))
    assert next(iter(flags)) in caught.value.detail or "election" in caught.value.detail
    assert member.state is MemberState.EXITED
    assert not member.status().exits[-1].expected
    assert (await member.start(member_spec(version))).state is MemberState.RUNNING


async def test_taken_ports_and_foreign_addresses(member: MemberControl, any_version: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 2380)),
        pytest.raises(RefusedError, match=rf"port 2380 .* taken by .*\(pid {os.getpid()}\)"),
    ):
        await member.start(member_spec(any_version))
    with pytest.raises(RefusedError, match=r"cannot listen on 10\.201\.0\.1"):
        await member.start(member_spec(any_version, client_url="http://10.201.0.1:2379"))
    assert member.state is MemberState.UNINITIALIZED
    assert member.status().spec is None


async def test_specs_that_are_refused(
    member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    theirs = settings.data_roots[0] / "m1"
    theirs.mkdir()
    (theirs / "file").write_text("precious")
    refused = [
        (member_spec(any_version), "not made by this agent"),
        (member_spec(any_version, data_dir="/etc/x"), "does not lie under"),
        (member_spec(any_version, flags={"data-dir": "/etc"}), "data-dir"),
        (member_spec(any_version, env={"LD_PRELOAD": "x"}), "LD_PRELOAD"),
        (member_spec(any_version, name="m9"), "does not list m9"),
    ]
    for spec, message in refused:
        with pytest.raises(RefusedError, match=message):
            await member.start(spec)
    with pytest.raises(UnavailableError, match="not installed"):
        await member.start(member_spec("9.9.9"))
    assert (theirs / "file").read_text() == "precious"
    assert (await member.terminate()).state is MemberState.UNINITIALIZED
    assert (theirs / "file").exists()


async def test_terminated_with_all_its_data(
    member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    await member.start(member_spec(any_version))
    await member.stop(10.0, "stop")
    other = settings.data_roots[0] / "other"
    await member.start(member_spec(any_version, data_dir=str(other)))
    assert other.exists()
    status = await member.terminate()
    assert (status.state, status.data_bytes) == (MemberState.TERMINATED, None)
    assert names(settings.data_roots[0]) == set()
    assert (await member.terminate()).state is MemberState.TERMINATED
    with pytest.raises(IllegalStateError):
        await member.restart(1.0, "restart")
    assert (await member.recover()).state is MemberState.TERMINATED, "nothing to bring back"
    assert (await member.start(member_spec(any_version))).state is MemberState.RUNNING


async def test_archived(member: MemberControl, any_version: str, settings: AgentSettings) -> None:
    with pytest.raises(IllegalStateError):
        await member.archive(ArchiveRequest(label="a"))
    await member.start(member_spec(any_version))
    with pytest.raises(IllegalStateError):
        await member.archive(ArchiveRequest(label="a"))
    await member.stop(10.0, "stop")
    result = await member.archive(ArchiveRequest(label="a"))
    assert names(result.path) == {"member.log", MARKER}
    assert result.size_bytes > 0
    assert await member.archive(ArchiveRequest(label="a")) == result, "the same again changes nothing"
    await member.restart(10.0, "restart")
    await member.stop(10.0, "stop")
    with pytest.raises(RefusedError, match=r"holds member\.log already"):
        await member.archive(ArchiveRequest(label="a"))
    result = await member.archive(ArchiveRequest(label="b", data=True))
    assert (Path(result.path) / "data" / "member" / "wal").is_dir()
    assert member.state is MemberState.TERMINATED
    with pytest.raises(NotFoundError):
        await member.archive(ArchiveRequest(label="c"))


async def test_a_member_without_its_data_does_not_come_back_empty(
    member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    await member.start(member_spec(any_version))
    await member.kill("test")
    (settings.data_roots[0] / "m1").rename(settings.data_roots[0] / "lost")
    with pytest.raises(RefusedError):
        await member.recover()
    assert member.state is MemberState.STOPPED
