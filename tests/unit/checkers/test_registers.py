"""Histories without revisions: what deletions say of the state before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.jepsen import read_jepsen
from tester.history.records import Delete, DeleteResult, Ok, Put
from tester.results import Verdict
from tests.unit.checkers.story import Story

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
