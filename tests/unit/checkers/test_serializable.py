"""What a member may forget: nothing, unless it was started anew."""

from __future__ import annotations

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.records import FaultRecord, MemberRecord, PhaseRecord, Range, RangeResult
from tester.results import Verdict
from tests.unit.checkers.story import Story, kv


def going_back(befalls: str, *, phases: bool, member: str = "m1") -> Verdict:
    """A member answers with an older state than before; something has befallen it, or another, in between."""
    story = Story()
    for number, phase in enumerate(("steady", "inject", "hold", "recover", "settle")):
        if phases:
            story.records.append(PhaseRecord(story.tick(), 1, phase, "case"))
        if number == 0:
            story.put("ka", "1:4", 2)
            story.put("ka", "2:4", 3)
            story.ok(Range("ka", s=True), 3, RangeResult((kv("ka", "2:4", 3, 2, 2),), 1))
        if number == 1 and befalls == "exit":
            story.records.append(MemberRecord(story.tick(), member, "exited"))
        elif number in {1, 3} and befalls != "exit":
            state = "injected" if number == 1 else "healed"
            story.records.append(FaultRecord(story.tick(), "f", befalls, member, state))
    story.ok(Range("ka", s=True), 2, RangeResult((kv("ka", "1:4", 2),), 1))
    (result,) = run_checkers(["serializable"], story.history, EndState(story.tick(), {}))
    return result.verdict


@pytest.mark.parametrize("phases", [True, False])
@pytest.mark.parametrize("befalls", ["isolate", "pause", "slow-fsync"])
def test_a_member_that_runs_on_goes_not_back(befalls: str, *, phases: bool) -> None:
    assert going_back(befalls, phases=phases) is Verdict.INVALID


@pytest.mark.parametrize("phases", [True, False])
@pytest.mark.parametrize("befalls", ["kill", "restart", "power-loss", "somebody's own", "exit"])
def test_a_member_that_may_have_been_started_anew_may_be_behind(befalls: str, *, phases: bool) -> None:
    assert going_back(befalls, phases=phases) is Verdict.VALID
    assert going_back(befalls, phases=phases, member="m2") is Verdict.INVALID


def test_what_undoes_a_fault_goes_on_after_its_record() -> None:
    """Reads in the phase in which it is recorded prove nothing, those of the next do."""
    story = Story()
    story.put("ka", "1:4", 2)
    story.put("ka", "2:4", 3)
    older, newer = kv("ka", "1:4", 2), kv("ka", "2:4", 3, 2, 2)
    story.records.append(PhaseRecord(story.tick(), 1, "recover", "case"))
    story.ok(Range("ka", s=True), 3, RangeResult((newer,), 1))
    story.records.append(FaultRecord(story.tick(), "f", "restart", "m1", "injected"))
    story.records.append(FaultRecord(story.tick(), "f", "restart", "m1", "healed"))
    story.ok(Range("ka", s=True), 2, RangeResult((older,), 1))
    story.records.append(PhaseRecord(story.tick(), 1, "settle", "case"))

    def verdict() -> Verdict:
        (result,) = run_checkers(["serializable"], story.history, EndState(story.tick(), {}))
        return result.verdict

    assert verdict() is Verdict.VALID
    story.ok(Range("ka", s=True), 3, RangeResult((newer,), 1))
    assert verdict() is Verdict.VALID
    story.ok(Range("ka", s=True), 2, RangeResult((older,), 1))
    assert verdict() is Verdict.INVALID


def test_whom_a_script_strikes_nobody_knows() -> None:
    assert going_back("external", phases=True, member="controller") is Verdict.VALID
    assert going_back("kill", phases=True, member="controller") is Verdict.INVALID
