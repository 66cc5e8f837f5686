"""Watch guarantees in histories written by hand, where what is not told matters."""

from __future__ import annotations

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.records import Compact, Event, Header, Watched, WatchStart
from tester.results import CheckResult, Verdict
from tests.unit.checkers.story import MEMBERS, Story


def judge(story: Story) -> CheckResult:
    (result,) = run_checkers(["watch"], story.history, EndState(story.tick(), {}))
    return result


@pytest.mark.parametrize("who", ["nobody", "members", "unknown", "client"])
def test_a_previous_key_may_be_compacted_away_by_whomever(who: str) -> None:
    """etcd looks for it when it sends the change: if it is gone by then, it says nothing of it."""
    story = Story()
    if who == "members":
        story.records[0] = Header(2, "run", 1, "test", 7, 0, "k", MEMBERS, compacts_itself=True)
    for number in (1, 2, 3):
        story.put("ka", f"{number}:4", number + 1)
    story.watch(*(Event("ka", number + 1, f"{number}:4", 2, number) for number in (1, 2, 3)))
    if who == "unknown":
        story.info(Compact(3))
    story.records.append(WatchStart(2, story.tick(), "m2", "k", 3, "l", prev_kv=True))
    story.records.append(Watched(2, story.tick(), 3, (Event("ka", 3, "2:4", 2, 2),)))
    if who == "client":
        story.ok(Compact(3), 4)
    result = judge(story)
    assert result.verdict is (Verdict.INVALID if who == "nobody" else Verdict.VALID), result


def test_bookmarks_without_any_change_are_no_lack_of_evidence() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.watch(rev=2)
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert result.message.startswith("reliable: watcher 1 at m1")


def test_without_changes_there_is_nothing_to_judge() -> None:
    for watched in (True, False):
        story = Story()
        if watched:
            story.watch(rev=2)
        result = judge(story)
        assert result.verdict is Verdict.UNKNOWN
        assert result.nothing_to_judge
