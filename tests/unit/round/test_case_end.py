"""After a case that proved nothing: whether the round may go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tester import case as case_module
from tester.case import CaseRunner
from tester.clock import RunClock
from tester.errors import ActionError, ClusterError, FaultIneffectiveError
from tester.events import EventBus
from tester.results import CaseState, PhaseStats, Recovery
from tester.scenario.loader import parse_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tester.actions.ground import Done

SCENARIO = parse_scenario("name: s\nstressers: [{kind: kv}]\ncases: [{name: c, fault: kill}]", "s.yml")
WHOLE = Recovery(0.1, 0.1, 0.1, 30.0)
NO_WRITES = Recovery(0.1, 0.1, None, 30.0)


class Proved(CaseRunner):
    """Its fault ends before its time."""

    async def _stress(self) -> None:
        raise FaultIneffectiveError("it had ended")


async def present() -> None:
    """Every host."""


def runner(monkeypatch: pytest.MonkeyPatch, recovery: Recovery) -> CaseRunner:
    async def measure(*_: object) -> Recovery:
        await asyncio.sleep(0)
        return recovery

    monkeypatch.setattr(case_module, "measure_recovery", measure)
    clock, bus = RunClock(), EventBus()
    setting = SimpleNamespace(
        plan=SimpleNamespace(scenario=SCENARIO),
        clock=clock,
        bus=bus,
        number=1,
        directory=SimpleNamespace(snapshot=Path),
    )
    stage = SimpleNamespace(
        setting=setting,
        turn=SimpleNamespace(is_midway=False),
        ground=SimpleNamespace(clock=clock, bus=bus),
        roles=None,
        monitor=None,
        load=SimpleNamespace(window=lambda *_: PhaseStats()),
        check_hosts=present,
    )
    draw = lambda _: Random(1)  # noqa: E731 - as short as it can be
    return Proved(cast("Any", stage), cast("Any", None), SCENARIO.cases[0], draw, draw)


async def test_a_whole_cluster_is_fit_for_the_next_case(monkeypatch: pytest.MonkeyPatch) -> None:
    end = await runner(monkeypatch, WHOLE).run()
    assert (end.result.state, end.fatal) == (CaseState.ERROR, None)


async def test_another_one_would_be_taken_for_etcds_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    end = await runner(monkeypatch, NO_WRITES).run()
    assert (end.result.state, end.result.reason) == (CaseState.ERROR, "it had ended")
    assert isinstance(end.fatal, ClusterError)
    assert "case c proved nothing, and the cluster is not whole 30 s after it" in end.fatal.message


async def test_an_action_that_was_cut_off_leaves_no_cluster_to_go_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = runner(monkeypatch, WHOLE)
    actions = made._actions

    async def refused() -> Done:
        raise ActionError("no")

    with pytest.raises(ActionError):
        await actions._note("grow", refused())
    assert not actions.cut_off
    forever: Awaitable[Any] = asyncio.Event().wait()
    removing = asyncio.create_task(actions._note("replace", forever))
    await asyncio.sleep(0)
    removing.cancel()
    await asyncio.gather(removing, return_exceptions=True)
    assert actions.cut_off
    end = await made.run()
    assert isinstance(end.fatal, FaultIneffectiveError)
