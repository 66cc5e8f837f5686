"""What goes on beside a round: asking agents, watching exits, background tasks."""

from __future__ import annotations

import asyncio

import pytest

from agent_client import AgentUnreachableError
from agent_service.models import ExitRecord, HostClock, MemberState, MemberStatus
from tester.background import Background
from tester.clock import RunClock
from tester.errors import AgentError, InfrastructureError
from tester.events import EventBus, MemberExited, Notice
from tester.exits import ClockOffset, ExitWatch, describe_exit, measure_offset
from tester.fleet import ask_all


def exit_record(pid: int, *, expected: bool = True, signal: int | None = 9) -> ExitRecord:
    return ExitRecord(
        pid=pid,
        code=None,
        signal=signal,
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
            exits=tuple(self.exits),
            exits_total=len(self.exits),
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


async def test_exits_are_told_once_on_the_run_clock() -> None:
    agent, bus, heard = Agent(), EventBus(), []
    bus.subscribe(heard.append)
    agent.exits.append(exit_record(1))  # before this round: no news
    watch = ExitWatch({"h": agent}, bus, {"h": ClockOffset(1_000, 0)})
    await watch.poll_now()
    agent.exits += [exit_record(2), exit_record(3, expected=False)]
    await watch.poll_now()
    await watch.poll_now()
    assert [(e.at_ns, e.member, e.expected) for e in heard if isinstance(e, MemberExited)] == [
        (2, "h", True),
        (3, "h", False),
    ]


async def test_a_silent_agent_is_told_of_once() -> None:
    agent, bus, heard = Agent(), EventBus(), []
    bus.subscribe(heard.append)
    watch = ExitWatch({"h": agent}, bus, {"h": ClockOffset(0, 0)})
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
    assert "nobody could see" in describe_exit(exit_record(1, signal=None))


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
