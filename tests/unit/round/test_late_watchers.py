"""A watcher that is waited for in vain is told to whoever judges, in a run and by a runner."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tester.clock import RunClock
from tester.history.endstate import EndState
from tester.history.records import Event
from tester.history.writer import HistoryWriter
from tester.results import Verdict
from tester.runner.running import _Runner
from tester.stage import Stage
from tests.unit.checkers.story import Story

if TYPE_CHECKING:
    from pathlib import Path

    from tester.events import Notice

LATE = "watcher 2 on m2 delivered up to revision 3 and not 9, and nothing for 10 s"


class Load:
    async def pause(self) -> None:
        pass

    async def mark(self, timeout: float) -> int:
        return 9


@pytest.mark.parametrize("late", [[LATE], []])
async def test_a_round_says_it_at_once_and_in_its_evidence(late: list[str]) -> None:
    notices: list[Notice] = []

    async def caught_up(revision: int, timeout: float) -> list[str]:
        assert revision == 9
        return late

    async def testify(revision: int) -> EndState:
        return EndState(revision, {})

    scenario = SimpleNamespace(checkers=(), limits=SimpleNamespace(gap=None))
    stage = SimpleNamespace(
        load=Load(),
        watchers=SimpleNamespace(caught_up=caught_up),
        witness=SimpleNamespace(testify=testify),
        progress=SimpleNamespace(told=tuple),
        setting=SimpleNamespace(
            bus=SimpleNamespace(publish=notices.append), plan=SimpleNamespace(scenario=scenario)
        ),
        _writer=SimpleNamespace(flush=lambda: None),
    )
    end = await Stage._end_state(stage)
    assert end.late == tuple(late)
    assert [(notice.text, notice.warning) for notice in notices] == [(text, True) for text in late]


@pytest.mark.parametrize("there", [False, True])
async def test_a_runner_is_judged_by_it(tmp_path: Path, *, there: bool) -> None:
    async def caught_up(revision: int, timeout: float) -> bool:
        return there

    writer = HistoryWriter(tmp_path / "history.jsonl")
    story = Story()
    story.put("ka", "1:4", 2)
    story.watch(Event("ka", 2, "1:4", 2, 1))
    for record in story.records:
        writer.write(record)
    runner = SimpleNamespace(
        _show=lambda _: None,
        _setting=SimpleNamespace(no_progress=10.0, checkers=["watch"]),
        _late=[],
        _trouble=[],
        _writer=writer,
        _clock=RunClock(),
    )
    await _Runner._collect(runner, Load(), [SimpleNamespace(name="watcher 2 on m2", caught_up=caught_up)])
    (result,) = _Runner._judge(runner)
    await writer.close()
    assert result.verdict is (Verdict.VALID if there else Verdict.UNKNOWN), result
    assert (result.message == "watcher 2 on m2 has not delivered revision 9") is not there
    assert not runner._trouble
