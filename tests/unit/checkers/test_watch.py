"""Watch guarantees in histories written by hand, where what is not told matters."""

from __future__ import annotations

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.records import (
    Compact,
    Event,
    Header,
    Put,
    PutResult,
    Txn,
    TxnResult,
    Watched,
    WatchEnd,
    WatchStart,
)
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


def test_a_change_that_is_left_out_names_the_operation_that_made_it() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    gone = story.delete("ka", 3)
    story.put("kb", "2:4", 4)
    first, last = Event("ka", 2, "1:4", 2, 1), Event("kb", 4, "2:4", 4, 1)
    story.watch(first, last, rev=4)
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert "never told of delete ka at revision 3" in result.message
    assert (result.findings[0].operations, result.findings[0].revisions) == ((gone,), (3,))
    story = Story()
    story.put("ka", "1:4", 2)
    story.delete("ka", 3)
    story.delete("ka", 3, deleted=0)  # which is no change
    story.watch(first, Event("ka", 3, d=True), rev=3)
    assert judge(story).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (Event("ka", 2, "1:4", 2, 1, 7), Verdict.VALID),
        (Event("ka", 2, "9:4", 2, 1, 7), Verdict.INVALID),
        (Event("ka", 2, "1:4", 2, 1), Verdict.INVALID),
        (Event("ka", 2, d=True), Verdict.INVALID),
    ],
)
def test_what_a_client_wrote_is_what_a_watcher_is_told(told: Event, verdict: Verdict) -> None:
    story = Story()
    written = story.put("ka", "1:4", 2, lease=7)
    story.watch(told, rev=2)
    result = judge(story)
    assert result.verdict is verdict, result
    if verdict is Verdict.INVALID:
        lease = "" if told.l else ", lease 7 and not 0"
        assert f"the client that wrote it asked for put ka = 1:4 at revision 2{lease}" in result.message
        assert result.findings[0].operations == (written,)


KA, KB, KC = Event("ka", 2, "1:4", 2, 1), Event("kb", 2, "2:4", 2, 1), Event("kc", 2, "3:4", 2, 1)


@pytest.mark.parametrize("asked", ["ok", "info"])
@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ((KA, KB, KC), Verdict.VALID),
        ((KB, KA, KC), Verdict.INVALID),
        ((KC, KA, KB), Verdict.INVALID),
    ],
)
def test_changes_of_a_transaction_come_in_its_order(
    asked: str, told: tuple[Event, ...], verdict: Verdict
) -> None:
    story = Story()
    txn = Txn((), (Put("ka", "1:4"), Put("kb", "2:4"), Put("kc", "3:4")))
    if asked == "ok":
        story.ok(txn, 2, TxnResult(succeeded=True, responses=(PutResult(),) * 3))
    else:  # nobody but another watcher knows better
        story.info(txn)
        story.records += [WatchStart(1, story.tick(), "m1", "k", 1, "l")]
        story.records += [Watched(1, story.tick(), 2, (KA, KB, KC)), Watched(1, story.tick(), 2)]
    story.records += [WatchStart(2, story.tick(), "m2", "k", 1, "l")]
    story.records += [Watched(2, story.tick(), 2, told), Watched(2, story.tick(), 2)]
    result = judge(story)
    assert result.verdict is verdict, result
    if verdict is Verdict.INVALID:
        assert result.kinds == ("ordered",)
        assert result.message.endswith(" the other way round")


def test_a_watcher_of_some_keys_is_told_of_them_in_order() -> None:
    story = Story()
    story.ok(
        Txn((), (Put("kc", "3:4"), Put("ka", "1:4"), Put("kb", "2:4"))),
        2,
        TxnResult(succeeded=True, responses=(PutResult(),) * 3),
    )
    story.records += [WatchStart(1, story.tick(), "m1", "k", 1, "l")]
    story.records += [Watched(1, story.tick(), 2, (KC, KA, KB)), Watched(1, story.tick(), 2)]
    story.records += [WatchStart(2, story.tick(), "m2", "kb", 1, "l")]
    story.records += [Watched(2, story.tick(), 2, (KC, KB)), Watched(2, story.tick(), 2)]
    assert judge(story).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("header", "verdict"), [(1, Verdict.INVALID), (2, Verdict.VALID), (9, Verdict.VALID)]
)
def test_a_header_is_no_older_than_its_changes(header: int, verdict: Verdict) -> None:
    """One that catches up is told the newest revision with changes that are older."""
    story = Story()
    story.put("ka", "1:4", 2)
    story.records += [WatchStart(1, story.tick(), "m1", "k", 1, "l")]
    story.records += [Watched(1, story.tick(), header, (KA,))]
    result = judge(story)
    assert (result.verdict, result.kinds) == (verdict, ("header",) if verdict is Verdict.INVALID else ())


def test_a_deletion_has_no_version() -> None:
    for told, verdict in (
        (Event("ka", 3, d=True), Verdict.VALID),
        (Event("ka", 3, "", 2, 1, d=True), Verdict.INVALID),
    ):
        story = Story()
        story.put("ka", "1:4", 2)
        story.delete("ka", 3)
        story.watch(KA, told, rev=3)
        result = judge(story)
        assert result.verdict is verdict, result
        assert ("as of every deletion" in result.message) == (verdict is Verdict.INVALID)


SECOND = 10**9


def told_until(revision: int, *, seconds: int, ended: str = "", start: int = 1) -> Story:
    """Seven puts, of which watcher 1 is told all, and watcher 2 on m2 up to a revision; then time passes."""
    story = Story()
    for number in range(2, 9):
        story.put("ka", f"{number}:4", number)
    events = [Event("ka", number, f"{number}:4", 2, number - 1) for number in range(2, 9)]
    story.watch(*events, watcher=1)
    story.records.append(WatchStart(2, story.tick(), "m2", "k", start, "l"))
    story.records += [Watched(2, story.tick(), event.m, (event,)) for event in events if event.m <= revision]
    if ended:
        story.records.append(WatchEnd(2, story.tick(), ended))
    story.at += seconds * SECOND
    story.records.append(Watched(1, story.tick(), 8))
    return story


@pytest.mark.parametrize("revision", [0, 3])
def test_who_was_told_nothing_of_what_was_long_known_shows_nothing(revision: int) -> None:
    result = judge(told_until(revision, seconds=11))
    assert result.verdict is Verdict.UNKNOWN
    assert result.message.startswith(f"watcher 2 on m2 was told of nothing after revision {revision}, though")


@pytest.mark.parametrize(
    "story",
    [
        told_until(8, seconds=11),
        told_until(3, seconds=9),
        told_until(3, seconds=11, ended="the watcher was stopped"),
        told_until(0, seconds=11, start=9),
        told_until(0, seconds=11, start=0),
    ],
    ids=["told all", "a moment ago", "it had left", "asked for what is to come", "from now on"],
)
def test_who_need_not_have_been_told_more(story: Story) -> None:
    result = judge(story)
    assert result.verdict is Verdict.VALID, result


def test_streams_that_stall_one_after_the_other_show_nothing() -> None:
    story = told_until(8, seconds=0)
    for _ in range(5):
        story.records.append(WatchStart(3, story.tick(), "m3", "k", 1, "l"))
        story.at += 4 * SECOND
        story.records.append(WatchEnd(3, story.tick(), "stalled"))
    story.records.append(Watched(1, story.tick(), 8))
    assert "watcher 3 on m3" in judge(story).message


def test_a_watcher_that_was_waited_for_in_vain() -> None:
    story = told_until(8, seconds=0)
    (result,) = run_checkers(
        ["watch"], story.history, EndState(story.tick(), {}, late=("watcher 2 is late",))
    )
    assert (result.verdict, result.message) == (Verdict.UNKNOWN, "watcher 2 is late")
