"""What goes on beside a round: asking agents, watching exits, background tasks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentUnreachableError
from agent_service.models import (
    ArchiveRequest,
    DiskLayerStatus,
    ExitRecord,
    HostClock,
    MemberState,
    MemberStatus,
)
from tester import stage as stage_module
from tester.background import Background
from tester.claims import claim
from tester.clock import RunClock
from tester.errors import AgentError, AnsibleError, InfrastructureError, LoadError
from tester.events import EventBus, FaultHealed, MemberExited, Notice
from tester.exits import ClockOffset, ExitWatch, describe_exit, measure_offset
from tester.fleet import ask_all
from tester.history.records import PhaseRecord
from tester.history.writer import HistoryWriter
from tester.interrupt import Interrupt
from tester.orchestration.plays import Playbooks
from tester.plan import Plan
from tester.roundlog import RoundLog
from tester.run import wanted_etcd
from tester.scenario.loader import parse_scenario
from tester.stage import round_token
from tests.unit.scenario.hosts import host

if TYPE_CHECKING:
    from pathlib import Path


def exit_record(pid: int, *, expected: bool = True, by: int | None = 9) -> ExitRecord:
    return ExitRecord(
        pid=pid,
        code=None,
        signal=by,
        expected=expected,
        cause="fault f1" if expected else "unexpected",
        monotonic_ns=1_000 + pid,
        realtime_ns=0,
        log_tail=() if expected else ("panic: oh",),
    )


class Agent:
    """An agent as far as these need it."""

    def __init__(self) -> None:
        self.exits: list[ExitRecord] = []
        self.dead = False
        self.exits_total = 0
        self.layer: DiskLayerStatus | None = None

    async def member(self) -> MemberStatus:
        if self.dead:
            raise AgentUnreachableError("no answer", remedy="look at it")
        return MemberStatus(
            state=MemberState.RUNNING,
            spec=None,
            pid=1,
            started_monotonic_ns=1,
            data_dir=None,
            data_bytes=None,
            disk_layer=self.layer,
            exits=tuple(self.exits),
            exits_total=self.exits_total or len(self.exits),
        )

    async def clock(self) -> HostClock:
        return HostClock(boot_id="b", monotonic_ns=5_000_000_000, realtime_ns=0)


async def test_every_agent_is_asked_and_all_that_fail_are_named() -> None:
    agents = {"a": Agent(), "b": Agent(), "c": Agent()}
    agents["a"].dead = agents["c"].dead = True
    asked: list[str] = []

    async def question(host: str, agent: Agent) -> MemberStatus:
        asked.append(host)
        return await agent.member()

    with pytest.raises(AgentError) as caught:
        await ask_all(agents, question)
    assert asked == ["a", "b", "c"]
    assert caught.value.message == "a: no answer\nc: no answer"
    assert caught.value.remedy == "look at it"
    assert list(await ask_all({"b": agents["b"]}, question)) == ["b"]


async def test_each_host_has_its_remedy_unless_it_is_the_same_for_all() -> None:
    async def question(host: str, agent: Agent) -> MemberStatus:
        raise AgentUnreachableError("no answer", remedy=f"look at {host}")

    with pytest.raises(AgentError) as caught:
        await ask_all({"a": Agent(), "b": Agent()}, question)
    assert caught.value.remedy == "a: look at a\nb: look at b"


async def test_exits_are_told_once_on_the_run_clock() -> None:
    agent, bus, heard = Agent(), EventBus(), []
    bus.subscribe(heard.append)
    agent.exits.append(exit_record(1))  # before this round: no news
    watch = ExitWatch({"h": agent}, bus, RunClock(), {"h": ClockOffset(1_000, 0)})
    await watch.poll_now()
    agent.exits += [exit_record(2), exit_record(3, expected=False)]
    await watch.poll_now()
    await watch.poll_now()
    assert [(e.at_ns, e.member, e.expected) for e in heard if isinstance(e, MemberExited)] == [
        (2, "h", True),
        (3, "h", False),
    ]


async def test_a_disk_layer_that_ended_is_no_news_of_etcd() -> None:
    agent = Agent()
    watch = ExitWatch({"h": agent}, EventBus(), RunClock(), {"h": ClockOffset(1_000, 0)})
    agent.layer = DiskLayerStatus(mount="/m", alive=True)
    await watch.poll_now()
    assert watch.layerless == set()
    agent.exits.append(exit_record(2, expected=False))
    await watch.poll_now()
    assert watch.layerless == set(), "an end of its own is etcd's"
    agent.layer = DiskLayerStatus(mount="/m", alive=False)
    await watch.poll_now()
    assert watch.layerless == {"h"}


async def test_an_end_without_a_layer_is_remembered_when_there_is_a_new_one() -> None:
    agent = Agent()
    watch = ExitWatch({"h": agent}, EventBus(), RunClock(), {"h": ClockOffset(1_000, 0)})
    await watch.poll_now()
    agent.exits.append(exit_record(2, expected=False).model_copy(update={"disk_layer_died": True}))
    await watch.poll_now()
    assert watch.layerless == {"h"}


async def test_a_silent_agent_is_told_of_once() -> None:
    agent, bus, heard = Agent(), EventBus(), []
    bus.subscribe(heard.append)
    watch = ExitWatch({"h": agent}, bus, RunClock(), {"h": ClockOffset(0, 0)})
    agent.dead = True
    await watch.poll_now()
    await watch.poll_now()
    assert watch.silent == {"h"}
    agent.dead = False
    await watch.poll_now()
    assert watch.silent == set()
    assert [event.warning for event in heard if isinstance(event, Notice)] == [True, False]


def test_an_exit_in_words() -> None:
    assert describe_exit(exit_record(1)) == "ended with signal 9, asked for by fault f1"
    assert describe_exit(exit_record(1, expected=False)).endswith(
        "nobody asked for it; last log line: panic: oh"
    )
    assert "nobody could see" in describe_exit(exit_record(1, by=None))


async def test_the_offset_maps_the_hosts_clock_to_the_runs() -> None:
    clock = RunClock()
    offset = await measure_offset(Agent(), clock)
    mapped = 5_000_000_000 - offset.offset_ns
    assert 0 <= mapped <= clock.now()
    assert offset.error_ns >= 0


async def test_a_background_task_that_ends_is_an_error() -> None:
    background = Background()

    async def dies() -> None:
        raise KeyError("oh")

    async def lives() -> None:
        await asyncio.sleep(60)

    background.start(lives(), "the living")
    await asyncio.sleep(0)
    background.check_alive()
    background.start(dies(), "the dying")
    await asyncio.sleep(0.01)
    with pytest.raises(InfrastructureError, match="the dying has ended"):
        background.check_alive()
    await background.stop()
    background.check_alive()


async def test_a_history_that_cannot_be_written_hides_no_heal(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    writer._fail(OSError(28, "No space left on device"))
    bus, heard = EventBus(), []
    bus.subscribe(RoundLog(writer))
    bus.subscribe(heard.append)
    healed = FaultHealed(1, "f1", "kill", "h1", "etcd runs")
    bus.publish(healed)
    assert heard == [healed]
    with pytest.raises(LoadError, match="No space"):
        writer.check()  # as ``Stage.check_alive`` does all the time


async def test_records_that_come_too_late_go_nowhere(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    descriptor = writer._fd
    await writer.close()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert other == descriptor, "the number is used again"
    writer.write(PhaseRecord(1, 1, "steady", ""))
    await asyncio.sleep(0.01)
    os.close(other)
    assert (tmp_path / "other").read_bytes() == b""


async def test_exits_beyond_what_an_agent_keeps(tmp_path: Path) -> None:
    agent, bus = Agent(), EventBus()
    watch = ExitWatch({"h": agent}, bus, RunClock(), {"h": ClockOffset(0, 0)})
    await watch.poll_now()
    agent.exits = [exit_record(number) for number in range(3)]
    agent.exits_total = 5
    await watch.poll_now()
    assert len(watch.exits) == 3


async def test_a_stage_is_taken_down_as_a_whole_whoever_cancels() -> None:
    stopping, stopped = asyncio.Event(), []

    async def stop() -> None:
        stopping.set()
        await asyncio.sleep(0.02)
        stopped.append("clients")

    async def stage() -> None:
        async with stage_module._closed_to_the_end() as stack:
            stack.push_async_callback(stop)

    task = asyncio.create_task(stage())
    await stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped == ["clients"]


async def test_a_disk_that_takes_no_output_is_an_error_of_ansible(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    playbooks = Playbooks(tmp_path, tmp_path / "file" / "ansible", lambda _: None)
    with pytest.raises(AnsibleError, match=r"cleanup: .*Not a directory"):
        await playbooks.run("cleanup")


async def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt = Interrupt(EventBus())
        with interrupt.watching():
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
        assert not interrupt.asked
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_archives_of_two_runs_have_two_names() -> None:
    names = {round_token(run, 1) for run in ("20260102T030405Z-quick-42", "20260102T030406Z-quick-42")}
    assert len(names) == 2
    assert all(ArchiveRequest(label=name).label == name for name in names)


def test_hosts_of_different_versions_are_not_asked_for_one() -> None:
    scenario = parse_scenario(
        "name: one\nstressers: [{kind: kv}]\ncases: [{name: a, fault: kill}]\n", "one.yml"
    )
    same, other = host(1), host(2, versions=("3.4.23",))
    assert wanted_etcd(Plan(scenario, (same,), 1, 1, None)) == "3.5.16"
    assert wanted_etcd(Plan(scenario, (same, other), 1, 1, None)) == ""


def test_a_host_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tester.claims import claim;"
        "from tests.unit.scenario.hosts import host;"
        "context = claim([host(2)], Path(sys.argv[1]), 'runs/first'); context.__enter__();"
        "print('has it', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"has it\n"
        with (
            pytest.raises(InfrastructureError, match=r"host h2 .* in use by runs/first \(pid \d+\)"),
            claim([host(1), host(2)], tmp_path, "runs/second"),
        ):
            pass
        with claim([host(1), host(3)], tmp_path, "runs/second"):
            pass
        other.kill()
        other.wait()
    with claim([host(1), host(2)], tmp_path, "runs/second"):
        pass
