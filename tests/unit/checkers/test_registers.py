"""Histories without revisions: what deletions say of the state before."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tester.checkers import run_checkers
from tester.checkers.linearizability.register import ANYTHING, Step, search
from tester.checkers.linearizability.smallest import smallest
from tester.history.columns import NONE
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.jepsen import read_jepsen
from tester.history.records import Delete, DeleteResult, Ok, Put, Range, RangeResult
from tester.results import Verdict
from tests.unit.checkers.story import Story, kv

if TYPE_CHECKING:
    from pathlib import Path


def verdict(history: History) -> Verdict:
    (result,) = run_checkers(["linearizable"], history, EndState(2**62, {}))
    return result.verdict


@pytest.mark.parametrize(
    ("before", "deleted", "right"),
    [("put", 1, True), ("put", 0, False), ("delete", 0, True), ("delete", 1, False)],
)
def test_a_deletion_says_whether_there_was_a_key(before: str, deleted: int, *, right: bool) -> None:
    story = Story()
    story.put("ka", "1:4", 0)
    if before == "delete":
        story.delete("ka", 0)
    story.delete("ka", 0, deleted=deleted)
    assert verdict(story.history) is (Verdict.VALID if right else Verdict.INVALID)


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_deletion_beside_a_write_may_come_before_or_after_it(deleted: int) -> None:
    story = Story()
    write, delete = story.invoke(Put("ka", "1:4")), story.invoke(Delete("ka"))
    story.records.append(Ok(write, story.tick(), 0))
    story.records.append(Ok(delete, story.tick(), 0, 1, DeleteResult(deleted)))
    assert verdict(story.history) is Verdict.VALID


def test_what_jepsen_wrote_as_nil_says_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "history.edn"
    steps = [("write", "1"), ("write", "nil"), ("write", "nil"), ("read", "nil")]
    path.write_text(
        "\n".join(
            f"{{:type :{kind} :f :{f} :value {value} :process 0}}"
            for f, value in steps
            for kind in ("invoke", "ok")
        )
    )
    assert verdict(History(read_jepsen(path))) is Verdict.VALID


def test_a_stale_read_is_shown_with_what_it_missed_and_whose_value_it_has() -> None:
    story = Story()
    for number in range(1, 30):
        story.put("ka", f"{number}:4", 0)
    story.ok(Range("ka"), 0, RangeResult((kv("ka", "7:4", 0, 0, 0),), 1))
    (result,) = run_checkers(["linearizable"], story.history, EndState(2**62, {}))
    read, wrote, missed = result.findings[0].operations
    assert (read, wrote) == (30, 7)
    assert 7 < missed < 30
    assert "its value could only be 29:4, after operation 7: put ka = 7:4" in result.findings[0].message


def random_steps(rng: Random) -> list[Step]:
    """Operations on one register, some of them open for ever, answered at random."""
    steps = []
    for number in range(12):
        call = rng.randrange(60)
        ret = 2**62 if rng.random() < 0.1 else call + rng.randrange(1, 15)
        needs, leaves = rng.choice((ANYTHING, NONE, 1, 2, 3)), rng.choice((NONE, 1, 2, 3))
        if rng.random() < 0.4:
            needs = leaves  # a read
        steps.append(Step(number, call, ret, needs, leaves))
    return steps


def test_nothing_can_be_left_out_of_a_smallest_contradiction() -> None:
    cut = 0
    for seed in range(300):
        steps = random_steps(Random(seed))
        stuck = search(steps)
        if stuck is None:
            continue
        kept = smallest(steps, stuck[0])
        again = search(kept)
        assert again is not None
        assert again[0] == stuck[0]
        cut += len(steps) - len(kept)
        for step in kept:
            fewer = search([other for other in kept if other is not step])
            # Without it all is explained, or something else is not; or it may have left what was found.
            explained = fewer is None or fewer[0].id != stuck[0].id
            assert explained or step == stuck[0] or step.needs != step.leaves
    assert cut
