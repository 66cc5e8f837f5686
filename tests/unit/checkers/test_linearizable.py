"""What the verdict says and where it ends; the sort and the search, which share little, agree."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
import pytest

from tester.checkers import run_checkers
from tester.checkers.keyorder import KeyOrder
from tester.checkers.linearizability import attribution, search
from tester.checkers.linearizability.assembly import NeedsSearchError, assemble, gather
from tester.checkers.linearizability.changelog import ChangeLog
from tester.checkers.linearizability.checker import judge_order, rule
from tester.checkers.linearizability.compares import compare_values
from tester.checkers.linearizability.livecount import LiveCount
from tester.checkers.linearizability.ruling import Ruling
from tester.history.endstate import EndState
from tester.history.records import (
    Compact,
    CompactionRecord,
    Compare,
    Delete,
    DeleteResult,
    Event,
    Fail,
    Header,
    KeyValue,
    LeaseRevoke,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    Watched,
    WatchStart,
)
from tester.results import CheckResult, Verdict
from tests.unit.checkers.lies import bend_anything
from tests.unit.checkers.story import Story, kv
from tests.unit.checkers.world import Mix, simulate


def judge(story: Story) -> CheckResult:
    (result,) = run_checkers(["linearizable"], story.history, EndState(story.tick(), {}))
    return result


def read(story: Story, key: str, rev: int, *found: KeyValue) -> int:
    return story.ok(Range(key), rev, RangeResult(found, len(found)))


def test_a_stale_read_is_told_with_both_operations() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.put("ka", "2:4", 3)
    read(story, "ka", 2, kv("ka", "1:4", 2))
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].operations == (3, 2)
    assert result.message == (
        "operation 3: range ka (count 1) by client 1 at m1, ok at revision 2, 0.005000 s to 0.006000 s;"
        " before it was called, at 0.004000 s, operation 2: put ka = 2:4 by client 1 at m1, ok at revision 3,"
        " 0.003000 s to 0.004000 s had ended, which comes later"
    )


def test_a_wrong_answer_is_told_with_the_state_at_its_place() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    read(story, "ka", 2, kv("ka", "7:4", 2))
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].operations == (2, 1)
    assert (
        "it answered ka = 7:4 (mod 2, create 2, version 1), but ka was as of put ka = 1:4" in result.message
    )


def test_nothing_answered_is_unknown() -> None:
    story = Story()
    story.info(Put("ka", "1:4"))
    assert judge(story).verdict is Verdict.UNKNOWN
    assert "no linearizable operation was answered" in judge(story).message


def test_a_gap_too_wide_to_search_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.info(Delete("ka"))
    story.put("kb", "2:4", 9)
    read(story, "ka", 9)
    assert judge(story).verdict is Verdict.VALID  # the delete happened in between
    monkeypatch.setattr(search, "MAX_TRIALS", 3)
    result = judge(story)
    assert result.verdict is Verdict.UNKNOWN
    assert "too much fits into it to decide: operation 4: range ka" in result.message


@pytest.mark.parametrize(("most", "verdict"), [(225, Verdict.VALID), (224, Verdict.UNKNOWN)])
def test_whoever_cannot_have_done_it_is_not_asked(
    most: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each deletion is held against the one operation that reaches its key; ends of leases need none."""
    monkeypatch.setattr(attribution, "MAX_FITS", most)
    story, gone = Story(), []
    keys = [f"k{number:03d}" for number in range(300)]
    for number, key in enumerate(keys):
        story.put(key, f"{number}:4", number + 2, lease=number if number % 4 == 3 else 0)
    for number, key in enumerate(keys):
        mine = Txn((Compare(key, "mod", "=", number + 2),), (Delete(key),))
        asked = (Delete(key), Delete(key, f"{key}0"), mine, LeaseRevoke(number))[number % 4]
        story.info(asked)
        gone.append(Event(key, 302 + number, d=True))
    changes = [Event(key, n + 2, f"{n}:4", n + 2, 1, n if n % 4 == 3 else 0) for n, key in enumerate(keys)]
    story.watch(*changes, *gone, rev=601)
    assert judge(story).verdict is verdict


def test_what_was_there_before_the_history_is_no_violation() -> None:
    story = Story()
    old = KeyValue("ka", "old", 7, 40, 5)
    read(story, "ka", 100, old)
    story.put("ka", "1:4", 101)
    read(story, "ka", 101, KeyValue("ka", "1:4", 7, 101, 6))
    assert judge(story).verdict is Verdict.VALID
    read(story, "ka", 101, old)
    assert judge(story).verdict is Verdict.INVALID


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("seen", ["compare", "read"])
def test_a_version_counts_what_was_changed_unseen(seen: str, *, hidden: bool) -> None:
    """A key that was there before the history, at version 5; a put of unknown outcome may come before the last one."""
    story = Story()
    read(story, "kb", 100)
    story.put("ka", "1:4", 101)
    if seen == "compare":
        asked = Txn((Compare("ka", "version", "=", 6),), (Put("kb", "0:4"),))
        story.ok(asked, 102, TxnResult(succeeded=True, responses=(PutResult(),)))
    else:
        story.put("kb", "0:4", 102)
        read(story, "ka", 102, KeyValue("ka", "1:4", 7, 101, 6))
    if hidden:
        story.info(Put("ka", "2:4"))
    last = 104 if hidden else 103
    story.put("ka", "3:4", last)
    read(story, "ka", last, KeyValue("ka", "3:4", 7, last, 8))
    assert (judge(story).verdict is Verdict.INVALID) is not hidden


def old_deletion(deleted: int) -> Story:
    story = Story()
    read(story, "kb", 100)
    story.ok(Delete("ka"), 101, DeleteResult(deleted))
    return story


def old_lease_end(key: str) -> Story:
    story = Story()
    read(story, "kb", 100)
    story.put("kb", "1:4", 101)
    story.watch(Event("kb", 101, "1:4", 101, 1), Event(key, 102, d=True), rev=102, start=101)
    return story


def first_page(*found: KeyValue, count: int = 5) -> Story:
    story = Story()
    story.put("ka", "1:4", 101)
    story.ok(Range("k", "l", n=2), 101, RangeResult(found, count, more=True))
    return story


def counted(count: int) -> Story:
    story = Story()
    story.put("ka", "1:4", 101)
    story.ok(Range("k", "l", count_only=True), 101, RangeResult((), count))
    return story


def conditional(*conditions: Compare, succeeded: bool = True) -> Story:
    story = Story()
    story.put("kd", "1:4", 101)
    branch = (Put("ke", "2:4"),)
    story.ok(Txn(conditions, branch, branch), 102, TxnResult(succeeded, (PutResult(),)))
    return story


def overwritten(*versions: int) -> Story:
    """Keys with an age that is told only after the first put of ours."""
    story = Story()
    story.put("ka", "1:4", 101)
    story.put("ka", "2:4", 102)
    for version in versions:
        read(story, "ka", 102, kv("ka", "2:4", 102, 40, version))
    return story


A, OLD = kv("ka", "1:4", 101), kv("kb", "old", 50, 7, 3)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (old_deletion(1), old_deletion(2)),
        (old_lease_end("ka"), old_lease_end("kb")),
        (first_page(A, OLD), first_page(OLD, kv("kc", "old", 51))),
        (counted(5), counted(0)),
        (conditional(Compare("ka", "create", ">", 0)), conditional(Compare("kd", "lease", ">", 0))),
        (conditional(Compare("kd", "version", "=", 6)), conditional(Compare("kd", "mod", "=", 6))),
        (conditional(Compare("ka", "mod", "<", 9, "kd")), conditional(Compare("ka", "mod", "<", 9, "kz"))),
        (conditional(Compare("ka", "mod", "=", 0), succeeded=False), conditional(succeeded=False)),
        (overwritten(6, 6), overwritten(6, 7)),
    ],
)
def test_what_nobody_read_may_have_been_there_before(right: Story, wrong: Story) -> None:
    """The history begins at revision 100 of a store that others have filled; its own keys it knows."""
    assert judge(right).verdict is Verdict.VALID, judge(right)
    assert judge(wrong).verdict is Verdict.INVALID


@pytest.mark.parametrize("known", ["read", "watched", "not"])
def test_a_history_that_tells_what_was_there_is_judged_by_it(known: str) -> None:
    story = Story()
    if known == "watched":
        story.watch(rev=100)
    story.ok(Range("k" if known == "read" else "kz", "l"), 100, RangeResult())
    story.ok(Delete("ka"), 101, DeleteResult(1))
    assert judge(story).verdict is (Verdict.VALID if known == "not" else Verdict.INVALID)


def test_the_whole_key_space() -> None:
    story = Story()
    story.records[0] = Header(1, "run", 1, "test", 7, 0, prefix="", members=("m1",))
    story.records.append(WatchStart(1, 1, "m1", "\0", 1, "\0"))
    story.put("a", "1:4", 2)
    story.put("z", "2:4", 3)
    story.ok(Range("\0", "\0", n=1), 3, RangeResult((kv("a", "1:4", 2),), 2, more=True))
    story.ok(Delete("b", "\0"), 4, DeleteResult(1))
    events = (Event("a", 2, "1:4", 2, 1), Event("z", 3, "2:4", 3, 1), Event("z", 4, d=True))
    story.records.append(Watched(1, story.tick(), 4, events))
    assert judge(story).verdict is Verdict.VALID
    story.ok(Range("\0", "\0", count_only=True), 4, RangeResult((), 2))
    assert "it answered 0 keys and counted 2, 1 were there" in judge(story).message


def three_keys() -> tuple[Story, KeyValue, KeyValue, KeyValue]:
    story = Story()
    keys = kv("ka", "1:4", 2), kv("kb", "2:4", 3), kv("kc", "3:4", 4)
    for one in keys:
        story.put(one.k, one.v, one.m)
    return story, *keys


def test_a_wrong_more_says_what_it_should_be() -> None:
    story, ka, kb, kc = three_keys()
    story.ok(Range("k", "l", n=2), 4, RangeResult((ka, kb), 3, more=True))
    assert judge(story).verdict is Verdict.VALID
    story.ok(Range("k", "l", n=2), 4, RangeResult((ka, kb), 3))
    assert "it said more: false, which should be more: true: it answered 2 of 3 keys" in judge(story).message
    story, ka, kb, kc = three_keys()
    story.ok(Range("k", "l"), 4, RangeResult((ka, kb, kc), 3, more=True))
    assert "it said more: true, which should be more: false: it answered 3 of 3 keys" in judge(story).message


def test_keys_out_of_order_are_named() -> None:
    story, ka, kb, kc = three_keys()
    story.ok(Range("k", "l"), 4, RangeResult((ka, kc, kb), 3))
    assert judge(story).message.endswith("its keys are out of order: kb after kc")
    assert judge(story).findings[0].operations == (4, 2)


def test_a_missing_key_is_named() -> None:
    story, ka, kb, kc = three_keys()
    story.ok(Range("k", "l", n=2), 4, RangeResult((ka, kc), 3, more=True))
    assert judge(story).message.endswith(
        "its answer leaves out kb, which comes before the last key that it has"
    )
    assert judge(story).findings[0].operations == (4, 2)
    story, ka, kb, kc = three_keys()
    story.ok(Range("k", "l"), 4, RangeResult((ka, kc), 2))
    assert judge(story).message.endswith("it answered 2 keys and counted 2, 3 were there: kb is missing")
    assert judge(story).findings[0].operations == (4, 2)
    story, ka, kb, kc = three_keys()
    story.ok(Range("k", "l"), 4, RangeResult((ka, kb, kc), 2))
    assert judge(story).message.endswith("it answered 3 keys and counted 2, 3 were there")


def test_a_range_beyond_the_prefix_is_not_counted() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.ok(Range("ka", "\0"), 3, RangeResult((kv("ka", "1:4", 2), kv("zz", "1:4", 3)), 2))
    story.ok(Range("zz"), 3, RangeResult((kv("zz", "1:4", 3),), 1))
    story.ok(Range("ka", "\0", n=1), 3, RangeResult((kv("ka", "1:4", 2),), 5, more=True))
    assert judge(story).verdict is Verdict.VALID  # zz is somebody else's
    for wrong in (
        RangeResult((kv("zz", "1:4", 3),), 1),
        RangeResult((kv("ka", "1:4", 2), kv("kb", "1:4", 3)), 2),
        RangeResult((kv("ka", "1:4", 2), kv("zz", "1:4", 3)), 5, more=True),
    ):
        story.ok(Range("ka", "\0"), 3, wrong)
        assert judge(story).verdict is Verdict.INVALID
        del story.records[-2:]
    story = Story()
    story.put("ka", "1:4", 2)
    story.ok(Range("ka", "\0", count_only=True), 3, RangeResult((), 5))
    assert judge(story).verdict is Verdict.VALID


@pytest.mark.parametrize("watched", [True, False])
def test_a_deletion_beyond_the_prefix_is_not_counted(*, watched: bool) -> None:
    """It takes somebody else's keys, too, of which no watcher of the load is told."""

    def judged(deleted: int) -> tuple[Verdict, Verdict]:
        story = Story()
        story.put("ka", "1:4", 2)
        story.put("kb", "2:4", 3)
        if watched:
            story.watch(Event("ka", 2, "1:4", 2, 1), Event("kb", 3, "2:4", 3, 1))
            gone = (Event("ka", 5, d=True), Event("kb", 5, d=True))
            story.records.append(Watched(1, story.tick() + 2_000_000, 5, gone))
        story.ok(Delete("k", "\0"), 5, DeleteResult(deleted))
        end = story.end(5)
        linearizable, durability = run_checkers(["linearizable", "durability"], story.history, end)
        return linearizable.verdict, durability.verdict

    assert judged(2) == (Verdict.VALID, Verdict.VALID)
    assert judged(3) == (Verdict.VALID if watched else Verdict.UNKNOWN, Verdict.VALID)
    assert judged(1)[0] is (Verdict.INVALID if watched else Verdict.UNKNOWN)


COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


class Refusals(Story):
    """Two puts, at revisions 2 and 3."""

    def __init__(self) -> None:
        super().__init__()
        self.put("ka", "1:4", 2)
        self.put("ka", "2:4", 3)

    def refuse(self, op: Operation, text: str) -> int:
        operation = self.invoke(op)
        self.records.append(Fail(operation, self.tick(), "OUT_OF_RANGE", text))
        return operation


@pytest.mark.parametrize(
    "op", [Range("ka", r=2), Range("ka", r=2, s=True), Txn((), (Range("ka", r=2),)), Compact(3)]
)
@pytest.mark.parametrize("asked", ["ok", "info", "open", "tester", "nobody", "less", "later", "members"])
def test_who_says_that_a_revision_is_compacted_was_asked_to_compact_it(op: Operation, asked: str) -> None:
    story = Refusals()
    if asked == "ok":
        story.ok(Compact(3), 3)
    elif asked == "info":
        story.info(Compact(3))
    elif asked == "open":
        story.invoke(Compact(3))
    elif asked == "tester":
        story.records.append(CompactionRecord(story.tick(), 3))
    elif asked == "less":
        story.ok(Compact(2), 3)
    elif asked == "members":
        story.records[0] = msgspec.structs.replace(story.records[0], compacts_itself=True)
    refused = story.refuse(op, COMPACTED)
    if asked == "later":
        story.ok(Compact(3), 3)
    result = judge(story)
    lied = asked in {"nobody", "less", "later"}
    assert result.verdict is (Verdict.INVALID if lied else Verdict.VALID), result
    if lied:
        assert result.findings[0].operations == (refused,)
        assert "refused as compacted" in result.message


def test_what_was_compacted_before_the_history_is_not_known() -> None:
    story = Story()
    read(story, "ka", 100)
    operation = story.invoke(Range("ka", r=60))
    story.records.append(Fail(operation, story.tick(), "OUT_OF_RANGE", COMPACTED))
    assert judge(story).verdict is Verdict.VALID


@pytest.mark.parametrize("op", [Range("ka", r=3), Txn((), (Range("ka", r=3),)), Compact(3)])
def test_a_revision_that_was_shown_is_none_of_the_future(op: Operation) -> None:
    story = Refusals()
    refused = story.refuse(op, FUTURE)
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].operations == (refused, 2)
    assert "refused as a future one" in result.message
    story = Refusals()
    story.watch(rev=4)
    story.refuse(Range("ka", r=4), FUTURE)
    assert judge(story).verdict is Verdict.INVALID, "a watcher was told"
    story = Refusals()
    story.refuse(Range("ka", r=4), FUTURE)
    story.refuse(Range("ka", r=3, s=True), FUTURE)  # a member that lags
    story.put("ka", "3:4", 4)
    assert judge(story).verdict is Verdict.VALID


@pytest.mark.parametrize("known", [True, False])
def test_what_was_compacted_is_not_read(*, known: bool) -> None:
    story = Refusals()
    if known:
        story.ok(Compact(3), 3)
    else:
        story.info(Compact(3))
    story.ok(Range("ka", r=3), 3, RangeResult((kv("ka", "2:4", 3, 2, 2),), 1))
    assert judge(story).verdict is Verdict.VALID
    operation = story.ok(Range("ka", r=2), 3, RangeResult((kv("ka", "1:4", 2),), 1))
    result = judge(story)
    assert result.verdict is (Verdict.INVALID if known else Verdict.VALID)
    if known:
        assert result.findings[0].operations == (operation, operation - 2)


def test_a_range_deletion_names_the_key_that_it_left() -> None:
    story, _, _, _ = three_keys()
    story.delete("k", 5, "l", deleted=2)
    story.watch(
        *(Event(f"k{name}", rev, f"{rev - 1}:4", rev, 1) for rev, name in enumerate("abc", 2)),
        rev=4,
    )
    story.records.append(Watched(1, story.tick(), 5, (Event("ka", 5, d=True), Event("kc", 5, d=True))))
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert result.message.endswith("at its place 3 such keys were there, 2 were deleted: kb was left")
    assert result.findings[0].operations == (4, 2)


def test_a_range_condition_names_what_does_not_hold() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.put("kb", "1:4", 3)
    txn = Txn((Compare("ka", "mod", "<", 3, "kc"),), then=(Put("kc", "2:4"),))
    story.ok(txn, 4, TxnResult(succeeded=True, responses=(PutResult(),)))
    result = judge(story)
    assert result.verdict is Verdict.INVALID
    assert "it took then, but at its place does not hold: mod([ka, 'kc')) < 3" in result.message


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("5:10", "5:10", 0),
        ("4:10", "5:10", -1),
        ("5:10", "49:10", 1),
        ("5:10", "50:10", None),
        ("5:1", "5:9", None),
    ],
)
def test_values_are_ordered_as_far_as_they_are_recorded(one: str, other: str, order: int | None) -> None:
    assert compare_values(one, other) == order


def test_counts_of_live_keys_are_those_of_a_set() -> None:
    rng = Random(5)
    texts = [f"k{n:03d}" for n in range(40)]
    order, rows, states, live = KeyOrder(texts), [], [set()], set()
    for revision in range(2, 400):
        key = rng.randrange(40)
        gone = key in live and rng.random() < 0.5
        live = live - {key} if gone else live | {key}
        rows.append((revision, key, -1 if gone else 1, 0, 0, 0))
        states.append(live)
    count = LiveCount(ChangeLog(np.array(rows, dtype=np.int64).T, 1), order)
    places = np.array([rng.randrange(len(states)) for _ in range(500)])
    bounds = np.sort([[rng.randrange(41), rng.randrange(41)] for _ in range(500)], axis=1)
    expected = [
        sum(low <= key < high for key in states[place])
        for place, (low, high) in zip(places, bounds, strict=True)
    ]
    assert count.count(places, bounds[:, 0], bounds[:, 1]).tolist() == expected


def test_the_sort_and_the_search_agree() -> None:
    verdicts = {True: 0, False: 0}
    for seed in range(150):
        rng = Random(seed)
        run = simulate(
            rng, Mix(operations=20, pinned=True, unknown=rng.choice((0.0, 0.2)), watchers=seed % 2)
        )
        if seed % 3:
            run = bend_anything(run, rng)
        evidences, ruling = gather(run.history, run.end), Ruling()
        judge_order(evidences, ruling)
        if ruling.certain.violations:
            continue  # the search takes real time among acknowledged operations for granted
        try:
            rule(assemble(evidences), ruling, run.end)
        except NeedsSearchError:
            continue
        outcome = search.Search(gather(run.history, run.end), run.end).run().outcome
        if ruling.certain.violations or not ruling.open.violations:
            right = not ruling.certain.violations
            assert outcome is (search.Outcome.FOUND if right else search.Outcome.IMPOSSIBLE), (seed, ruling)
            verdicts[right] += 1
    assert min(verdicts.values()) > 20, verdicts


@pytest.mark.parametrize("content", [True, False])
def test_a_lease_that_only_an_unknown_transaction_gives_may_have_ended_unseen(*, content: bool) -> None:
    story = Story()
    story.ok(Range("k", "l"), 1, RangeResult())
    story.put("k1", "0001:4", 2)
    condition = Compare("k1", "version", "=", 1)
    story.info(Txn((condition,), (Put("k1", "0002:4", 100),), (Delete("k1"),)))
    story.watch(Event("k1", 4, d=True), rev=4, start=4)  # it put k1 unseen, and its lease ended
    (result,) = run_checkers(
        ["linearizable"], story.history, story.end(4) if content else EndState(story.tick(), {})
    )
    assert result.verdict is Verdict.VALID, result


@pytest.mark.parametrize("is_made", [True, False])
def test_what_is_older_than_the_history_takes_nobody_s_author(*, is_made: bool) -> None:
    story = Story()
    if is_made:
        story.info(Delete("k1"))
    story.ok(Range("k2"), 6, RangeResult((kv("k2", "0009:4", 6),), 1))
    story.put("k1", "0002:4", 7)
    before = (Event("k1", 4, "0001:4", 4, 1), Event("k1", 5, d=True), Event("k2", 6, "0009:4", 6, 1))
    story.watch(*before, Event("k1", 7, "0002:4", 7, 1), Event("k1", 8, d=True), rev=8, start=2)
    result = judge(story)
    assert result.verdict is (Verdict.VALID if is_made else Verdict.INVALID), result


def test_a_value_in_an_answer_that_was_to_have_keys_only_is_found_by_the_search_too() -> None:
    for shown in ("", "0001:4"):
        story = Story()
        story.info(Put("k9", "0009:4"))
        story.put("k1", "0001:4", 3)
        story.ok(Range("k1", keys_only=True), 3, RangeResult((kv("k1", shown, 3),), 1))
        result = judge(story)
        assert (result.verdict is Verdict.VALID) is (shown == ""), result
