"""Before, during and after: every operation of a case ends in one of them, however the case ends."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_service.models import FaultState
from tester import case as case_module
from tester.case import CaseRunner
from tester.errors import LoadError
from tester.events import Phase
from tester.load.statistics import Outcome, Statistics
from tester.phases import Span
from tester.results import CaseResult, CaseState, PhaseStats, Recovery
from tester.scenario.loader import parse_scenario
from tester.targets import Roles
from tester.windows import windows
from tests.unit.faults.stage import Stage as Agents

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tester.clock import RunClock

MS = 1_000_000
ALL = (Phase.STEADY, Phase.INJECT, Phase.HOLD, Phase.RECOVER, Phase.SETTLE)


def spans(*phases: Phase) -> dict[Phase, Span]:
    """Ten nanoseconds each, one after the other, with one between."""
    return {phase: Span(100 + 11 * place, 110 + 11 * place) for place, phase in enumerate(phases)}


@pytest.mark.parametrize(
    ("phases", "cuts"),
    [
        (ALL, [90, 111, 133, 200]),
        (tuple(phase for phase in ALL if phase is not Phase.INJECT), [90, 111, 122, 200]),  # no faults
        ((Phase.INJECT, Phase.HOLD, Phase.RECOVER), [90, 100, 122, 200]),  # no steady time
        (ALL[:4], [90, 111, 133, 200]),
        (ALL[:3], [90, 111, 200]),
        (ALL[:2], [90, 111, 200]),
        (ALL[:1], [90, 200]),
        ((), [90, 200]),
    ],
)
def test_windows_meet_and_cover_the_case(phases: tuple[Phase, ...], cuts: list[int]) -> None:
    found = windows(spans(*phases), 90, 200)
    there = [span for span in found if span is not None]
    assert [(span.start_ns, span.end_ns) for span in there] == list(pairwise(cuts))
    assert found[: len(there)] == tuple(there)


class Busy:
    """A load with real statistics: an operation each few milliseconds, and some that end late."""

    def __init__(self, clock: RunClock) -> None:
        self.statistics = Statistics()
        self.window = self.statistics.window
        self._clock = clock
        self.going = True
        self.dies = False

    async def work(self) -> None:
        while True:
            await asyncio.sleep(0.002)
            if self.going:
                self.statistics.add(self._clock.now(), MS, Outcome.OK)

    async def pause(self) -> None:
        """What is in flight ends at its deadline."""
        self.going = False
        await asyncio.sleep(0.13)
        if self.dies:
            raise LoadError("it hangs")
        self.statistics.add(self._clock.now(), 130 * MS, Outcome.INFO, "DEADLINE_EXCEEDED")
        self.statistics.rest(self._clock.now())

    async def resume(self) -> None:
        """Not in this test: what comes then is another case's."""


def runner(load: Busy, agents: Agents, case: str, monkeypatch: pytest.MonkeyPatch) -> CaseRunner:
    async def measure(*_: object) -> Recovery:
        await asyncio.sleep(0.15)
        return Recovery(0.1, 0.1, 0.1, 30.0)

    async def nothing(*_: object) -> None:
        """No election, no check of hosts."""

    async def while_alive(work: Coroutine[Any, Any, Any]) -> Any:
        return await work

    async def check(_label: str, _scope: str, on_quiet: Callable[[], None]) -> tuple[()]:
        await load.pause()
        on_quiet()
        await asyncio.sleep(0.3)
        return ()

    monkeypatch.setattr(case_module, "measure_recovery", measure)
    monkeypatch.setattr(case_module, "election_ends", nothing)
    scenario = parse_scenario(f"name: s\nstressers: [{{kind: kv}}]\ncases: [{{{case}}}]", "s.yml")
    setting = SimpleNamespace(
        plan=SimpleNamespace(scenario=scenario),
        clock=agents.clock,
        bus=agents.bus,
        number=1,
        directory=SimpleNamespace(snapshot=Path),
    )
    stage = SimpleNamespace(
        setting=setting,
        turn=SimpleNamespace(is_midway=False, resume=nothing),
        ground=SimpleNamespace(clock=agents.clock, bus=agents.bus),
        roles=lambda: Roles(voters=("h1", "h2", "h3"), leader="h1"),
        monitor=None,
        progress=SimpleNamespace(disturbed=nullcontext),
        witness=SimpleNamespace(recovered=lambda _: None),
        load=load,
        while_alive=while_alive,
        look_on=asyncio.sleep,
        check=check,
        check_alive=lambda: None,
        check_hosts=nothing,
    )
    draw = lambda _: Random(1)  # noqa: E731 - as short as it can be
    made = CaseRunner(cast("Any", stage), agents.scene(), scenario.cases[0], draw, draw)
    made._started -= made._started % (100 * MS)  # statistics are of tenths of a second: begin with one
    return made


def count(stats: PhaseStats) -> int:
    return stats.ok + stats.fail + stats.info


def see_that_all_is_counted(load: Busy, made: CaseRunner, result: CaseResult) -> None:
    taken = load.statistics
    everything = taken.ok + taken.fail + taken.info
    if load.going:  # of the last tenth of a second the next case has what is in its middle, or this one
        everything = count(load.window(0, made._started + round(result.elapsed_seconds * 1e9)))
    assert everything == sum(map(count, (result.before, result.during, result.after))), result


TIMES = "steady: 200ms, hold: 300ms, settle: 200ms"


@pytest.mark.parametrize(
    ("case", "state", "counted"),
    [
        (f"name: calm, fault: none, {TIMES}", CaseState.PASSED, "bda"),
        (f"name: killed, fault: kill, {TIMES}", CaseState.PASSED, "bda"),
        ("name: at-once, fault: kill, steady: 0s, hold: 300ms, settle: 0s", CaseState.PASSED, "da"),
        (f"name: refused, fault: kill, {TIMES}", CaseState.ERROR, "bd"),
        (f"name: ends, fault: kill, {TIMES}", CaseState.ERROR, "bd"),
        (f"name: hangs, fault: kill, {TIMES}", CaseState.ERROR, "bda"),
    ],
)
async def test_no_operation_of_a_case_is_counted_nowhere(
    monkeypatch: pytest.MonkeyPatch, case: str, state: CaseState, counted: str
) -> None:
    agents = Agents()
    load = Busy(agents.clock)
    load.dies = "hangs" in case
    if "refused" in case:
        for agent in agents.agents.values():
            agent.inject_state = FaultState.FAILED
    if "ends" in case:
        asyncio.get_running_loop().call_later(
            0.35, lambda: [agent.heals_itself() for agent in agents.agents.values()]
        )
    made = runner(load, agents, case, monkeypatch)
    working = asyncio.create_task(load.work())
    end = await made.run()
    working.cancel()
    assert end.result.state is state, end.result.reason
    see_that_all_is_counted(load, made, end.result)
    result = end.result
    stretches = {"b": result.before, "d": result.during, "a": result.after}
    assert all(stretches[one].ok for one in counted)
    if state is CaseState.PASSED:
        assert result.after.errors == {"DEADLINE_EXCEEDED": 1}
        # What ends while the cluster recovers is in ``after``, and the check is no time under load.
        assert result.phases["recover"] + 0.13 <= result.after.seconds
        assert result.after.seconds <= result.elapsed_seconds - result.during.seconds - 0.2


async def test_a_case_that_is_broken_off_counts_all_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents()
    load = Busy(agents.clock)
    made = runner(load, agents, "name: c, fault: kill, steady: 200ms, hold: 60s", monkeypatch)
    working = asyncio.create_task(load.work())
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0.45)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    result = made.broken_off("interrupted")
    working.cancel()
    see_that_all_is_counted(load, made, result)
    assert result.during.ok
    ((turn,),) = [fault.turns for fault in result.faults]
    assert turn.healed_ns is not None


async def test_each_time_of_a_fault_has_its_own_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents()
    load = Busy(agents.clock)
    first = "{fault: kill, target: h1, lasts: 200ms}"
    second = "{fault: isolate, target: h2, after: 500ms}"
    case = f"name: c, faults: [{first}, {second}], hold: 900ms, steady: 100ms, settle: 100ms"
    made = runner(load, agents, f"{case}, allow_quorum_loss: true", monkeypatch)
    working = asyncio.create_task(load.work())
    result = (await made.run()).result
    working.cancel()
    assert result.state is CaseState.PASSED, result.reason
    (one,), (other,) = (fault.turns for fault in result.faults)
    assert one.end_ns is not None
    assert other.end_ns is not None
    assert one.start_ns < one.end_ns < other.start_ns < other.end_ns
    for turn in (one, other):
        assert turn.end_ns is not None
        assert turn.during == load.window(turn.start_ns, turn.end_ns)
        assert 0 < turn.during.ok < result.during.ok
    assert one.during.seconds == pytest.approx(0.2, abs=0.15)
