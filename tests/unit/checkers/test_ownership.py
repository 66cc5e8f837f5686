"""``locks`` and ``elections``: who holds what, by revisions."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.records import (
    ClaimRecord,
    Delete,
    DeleteResult,
    Event,
    Header,
    HistoryRecord,
    Invoke,
    KeyValue,
    Ok,
    Put,
    Range,
    RangeResult,
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.results import CheckResult, Verdict
from tests.unit.checkers.contestworld import ELECTION_LIES, GUARD, LOCK_LIES, ContestWorld
from tests.unit.checkers.story import Story, kv

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKERS = {"lock": "locks", "election": "elections"}


def judge(kind: str, records: list[HistoryRecord]) -> CheckResult:
    (result,) = run_checkers([CHECKERS[kind]], History(records), EndState(10**12, {}))
    return result


@pytest.mark.parametrize("kind", CHECKERS)
def test_right_contenders_are_valid(kind: str) -> None:
    for seed in range(40):
        result = judge(kind, ContestWorld(Random(seed), kind).run())
        assert result.verdict is Verdict.VALID, (seed, result)
        assert "guarded writes" in result.message


LIES = [("lock", lie) for lie in LOCK_LIES] + [("election", lie) for lie in ELECTION_LIES]


@pytest.mark.parametrize(("kind", "lie"), LIES, ids=lambda part: getattr(part, "__name__", part))
def test_a_lie_is_caught(
    kind: str, lie: Callable[[Random, list[HistoryRecord]], list[HistoryRecord]]
) -> None:
    for seed in range(10):
        rng = Random(seed)
        result = judge(kind, lie(rng, ContestWorld(rng, kind).run()))
        assert result.verdict is Verdict.INVALID, (seed, result)
        assert all(finding.revisions for finding in result.findings)


@pytest.mark.parametrize("kind", CHECKERS)
def test_missing_evidence(kind: str) -> None:
    assert judge(kind, []).verdict is Verdict.UNKNOWN
    records = ContestWorld(Random(1), kind).run()
    unseen = [r for r in records if not isinstance(r, WatchStart | Watched)]
    result = judge(kind, unseen)
    assert (result.verdict, "has a gap" in result.message) == (Verdict.UNKNOWN, True)
    middle = next(n for n, r in enumerate(records) if isinstance(r, Watched) and r.rev > 20)
    seen = records[middle]
    assert isinstance(seen, Watched)
    gap = [
        WatchEnd(1, seen.at, "compacted", seen.rev + 5),
        WatchStart(1, seen.at, "m1", "k", seen.rev + 5, "l"),
    ]
    later = [r for r in records[middle + 1 :] if not (isinstance(r, Watched) and r.rev < seen.rev + 5)]
    assert judge(kind, [*records[: middle + 1], *gap, *later]).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("kind", CHECKERS)
@pytest.mark.parametrize("deleted", [False, True])
def test_an_acknowledged_change_that_no_watcher_tells_of(kind: str, *, deleted: bool) -> None:
    """By a client that holds nothing: the watch log ends before."""
    records = ContestWorld(Random(1), kind).run()
    assert judge(kind, records).verdict is Verdict.VALID
    asked = Delete("k", "l") if deleted else Put("kguard", "9999:4")
    at, revision = records[-1].at + 1, 10**6
    out = DeleteResult(1) if deleted else None
    unseen = [Invoke(10**6, at, 77, "m1", asked), Ok(10**6, at + 1, revision, 1, out)]
    result = judge(kind, [*records, *unseen])
    assert result.verdict is Verdict.UNKNOWN
    assert f"who was first at revision {revision}, is not known" in result.message
    elsewhere = [Invoke(10**6, at, 77, "m1", Put("kother", "9:4")), Ok(10**6, at + 1, revision)]
    assert judge(kind, [*records, *elsewhere]).verdict is Verdict.VALID


def late(created: int, *, told_by: str = "put", other: bool = False) -> CheckResult:
    """A lock that was taken at a revision, and watchers from revision 60 on."""
    story = Story()
    if told_by == "put":
        story.put("kq/1", "1:4", created)
    story.ok(Range("kz"), max(created, 60), RangeResult())
    if told_by == "read":
        found = kv("kq/1", "1:4", created)
        story.ok(Range("kq/", "kq0"), max(created, 60), RangeResult((found,), 1))
    story.records.append(
        ClaimRecord(story.tick(), 1, "lock", "kq/", "held", "kq/1", created, 65, "", "kguard")
    )
    story.put("kguard", "2:4", 66)
    changes = [Event("kguard", 66, "2:4", 66, 1)]
    if created >= 60:
        changes.insert(0, Event("kq/1", created, "1:4", created, 1))
    if other:
        changes.insert(0, Event("kq/0", 60, "3:4", 60, 1))
    story.watch(*changes, rev=66, start=60)
    return judge("lock", story.records)


@pytest.mark.parametrize("told_by", ["put", "read", "claim"])
def test_a_watch_log_that_begins_late_does_not_know_who_was_first(told_by: str) -> None:
    result = late(50, told_by=told_by)
    assert (result.verdict, "is not known" in result.message) == (Verdict.UNKNOWN, True), result
    assert late(61, told_by=told_by).verdict is Verdict.VALID, "all contenders came later"
    assert late(61, told_by=told_by, other=True).verdict is Verdict.INVALID


def test_a_belief_that_outlives_its_lease_is_no_violation() -> None:
    records = ContestWorld(Random(3), "lock").run()
    claims = [r for r in records if isinstance(r, ClaimRecord)]
    lost = next(r for r in claims if r.state == "lost")
    held = next(r for r in claims if r.state == "held" and r.at > lost.at)
    late = [r for r in records if r is not lost]
    late.append(ClaimRecord(held.at + 1, lost.c, "lock", lost.name, "lost", lost.k, lost.rev))
    result = judge("lock", late)
    assert result.verdict is Verdict.VALID
    assert "1 beliefs outlived their lease" in result.message


def test_the_message_names_who_and_where() -> None:
    rng = Random(0)
    lie = next(lie for lie in LOCK_LIES if lie.__name__ == "written_by_another")
    message = judge("lock", lie(rng, ContestWorld(rng, "lock").run())).message
    for part in ("put kguard = ", "changed the guarded key kguard at revision", "was first"):
        assert part in message


@pytest.mark.parametrize("kind", CHECKERS)
def test_the_holder_may_delete_what_it_guards(kind: str) -> None:
    world = ContestWorld(Random(2), kind)
    world.run()
    while not world.holding:
        world.step()
    writes = judge(kind, world.records).message
    holder = world.queue[0][0]
    world.put(holder, GUARD)
    world.delete(holder, GUARD)
    result = judge(kind, world.records)
    assert result.verdict is Verdict.VALID, result
    assert result.message != writes


def test_a_claim_names_the_operation_that_showed_it() -> None:
    records: list[HistoryRecord] = [
        Header(1, "run", 1, "contest", 1, 0, "k", ("m1", "m2")),
        WatchStart(1, 0, "m1", "k", 1, "l"),
        Invoke(1, 10, 1, "m1", Put("kq/1", "1:4")),
        Ok(1, 20, 2),
        Watched(1, 30, 2, (Event("kq/1", 2, "1:4", 2, 1),)),
        Watched(1, 31, 3),
    ]
    look = Range("kq/", "kq0")
    for number, (rev, key) in enumerate(((3, "kq/1"), (2, "kq/1")), start=2):
        at = 100 * number
        shown = RangeResult((KeyValue(key, "1:4", 2, 2, 1),), 1)
        records += [Invoke(number, at, 9, "m2", look), Ok(number, at + 1, rev, 1, shown)]
        records.append(ClaimRecord(at + 2, 9, "election", "kq/", "observed", key, 2, rev, "1:4"))
    result = judge("election", records)
    assert "after it had been shown kq/1, created at 2, as of revision 3" in result.message
    assert (result.findings[0].operations, result.findings[0].members) == ((3,), ("m2",))
    assert judge("election", records[:-3]).verdict is Verdict.UNKNOWN  # nobody was elected; nothing else
