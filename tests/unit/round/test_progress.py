"""Recipes of a load that get nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tester.checkers import run_checkers
from tester.etcd.monitor import ClusterView
from tester.history.endstate import EndState
from tester.history.history import History
from tester.progress import Progress
from tester.results import CheckResult, Verdict
from tester.scenario.stressers import Stresser

STRESSERS = [
    TypeAdapter[Stresser](Stresser).validate_python({"kind": kind})
    for kind in ("kv", "lock", "lease-renewer")
]
SERVING = ClusterView(("m1", "m2"), (), "m1", 2, {"m1": object(), "m2": object()})  # type: ignore[dict-item]
LEADERLESS = replace(SERVING, leader=None)
SILENT = replace(SERVING, health={**SERVING.health, "m2": None})


class Clock:
    seconds = 0

    def now(self) -> int:
        return self.seconds * 10**9


class Course:
    """Looks once a second."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.progress = Progress(STRESSERS, self.clock)  # type: ignore[arg-type]
        self.steps = [0, 0, 0]

    def last(self, seconds: int, *, locks: bool, view: ClusterView = SERVING, running: bool = True) -> None:
        for _ in range(seconds):
            self.clock.seconds += 1
            self.steps[1] += locks
            self.steps[2] += 1
            self.progress.look(self.steps, view, running=running)

    def judge(self) -> CheckResult:
        (result,) = run_checkers(["progress"], History(), EndState(1, {}, steps=self.progress.told()))
        return result


def test_a_lock_that_nobody_gets_for_a_minute_is_told() -> None:
    course = Course()
    course.last(5, locks=True)
    course.last(59, locks=False)
    assert course.judge().verdict is Verdict.VALID
    course.last(2, locks=False)
    course.last(5, locks=True)
    result = course.judge()
    assert result.verdict is Verdict.UNKNOWN
    assert not result.nothing_to_judge
    assert "lock (stresser 2) made no step for 61 s" in result.message
    assert "(10 steps in all)" in result.message


def test_steps_in_between_are_progress() -> None:
    course = Course()
    for _ in range(10):
        course.last(50, locks=False)
        course.last(1, locks=True)
    result = course.judge()
    assert result.verdict is Verdict.VALID
    assert "lock (stresser 2) 10 steps, 50.0 s at the most" in result.message


@pytest.mark.parametrize(
    ("view", "running", "disturbed"),
    [(LEADERLESS, True, False), (SILENT, True, False), (SERVING, False, False), (SERVING, True, True)],
)
def test_time_in_which_no_step_can_be_made_does_not_count(
    view: ClusterView,
    running: bool,  # noqa: FBT001 - a parameter of the test
    disturbed: bool,  # noqa: FBT001 - likewise
) -> None:
    course = Course()
    course.last(40, locks=False)
    if disturbed:
        with course.progress.disturbed():
            course.last(100, locks=False)
    else:
        course.last(100, locks=False, view=view, running=running)
    assert course.judge().verdict is Verdict.VALID
    course.last(20, locks=False)  # it has not begun anew: 60 s in all
    assert course.judge().verdict is Verdict.UNKNOWN


def test_a_load_without_steps_has_nothing_to_judge() -> None:
    (result,) = run_checkers(["progress"], History(), EndState(1, {}))
    assert result.verdict is Verdict.UNKNOWN
    assert result.nothing_to_judge
