"""``leases``: every way in which a lessor can lie is caught, and one that is right is never blamed."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.records import (
    Event,
    FaultRecord,
    HistoryRecord,
    Info,
    Invoke,
    LeaderRecord,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Ok,
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
from tests.unit.checkers.leaseworld import LIES, NS, LeaseWorld
from tests.unit.checkers.story import Story, kv

if TYPE_CHECKING:
    from collections.abc import Callable


def judge(world: LeaseWorld) -> CheckResult:
    history, end = world.run()
    (result,) = run_checkers(["leases"], history, end)
    return result


@pytest.mark.parametrize("seed", range(12))
def test_a_right_lessor_is_valid(seed: int) -> None:
    world = LeaseWorld(Random(seed), unknown=0.1 if seed % 2 else 0.0, elections=0.005 if seed % 3 else 0.0)
    history, end = world.run()
    for result in run_checkers(["leases", "linearizable", "durability", "watch"], history, end):
        wanted = {Verdict.VALID} if result.checker != "durability" else {Verdict.VALID, Verdict.UNKNOWN}
        assert result.verdict in wanted, (seed, result)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_caught(lie: str) -> None:
    elections = 0.01 if "lead" in lie or "election" in lie else 0.0
    caught = [judge(LeaseWorld(Random(seed), lie, elections=elections)) for seed in range(4)]
    verdicts = [result.verdict for result in caught]
    assert verdicts.count(Verdict.INVALID) >= 3, (lie, caught)
    for result in caught:
        assert result.verdict is not Verdict.UNKNOWN
        assert all(finding.message.startswith("lease ") for finding in result.findings)


class Tale(Story):
    """A story told in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.records.append(LeaderRecord(0, "m1", 2))

    def at_second(self, second: float) -> Tale:
        self.at = max(self.at, int(second * NS))
        return self

    def result(self) -> CheckResult:
        (found,) = run_checkers(["leases"], self.history, self.end(2))
        return found


def granted(ttl: int = 5) -> Tale:
    tale = Tale()
    tale.ok(LeaseGrant(7, ttl), 2, LeaseResult(ttl))
    return tale


def test_the_message_names_the_operations() -> None:
    tale = granted()
    tale.at_second(1).ok(LeaseKeepAlive(7), 2, LeaseResult(5))
    tale.at_second(3).ok(LeaseKeepAlive(7), 2, LeaseResult(0))
    result = tale.result()
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].operations == (2, 3)
    assert result.message.startswith(
        "lease 7 ended at least 2.999 s too early: operation 2: keep alive lease 7 (5 s) by client 1 at m1"
    )


@pytest.mark.parametrize(
    ("second", "answer", "verdict"),
    [
        (5.5, 0, Verdict.VALID),  # over
        (4.0, 0, Verdict.INVALID),  # too early
        (14.0, 5, Verdict.VALID),  # late, but within the grace
        (17.0, 5, Verdict.INVALID),  # nobody renewed it for 17 s
    ],
)
def test_the_time_of_a_lease(second: float, answer: int, verdict: Verdict) -> None:
    tale = granted()
    tale.at_second(second).ok(LeaseKeepAlive(7), 2, LeaseResult(answer))
    assert tale.result().verdict is verdict


@pytest.mark.parametrize(
    "records",
    [
        [LeaderRecord(4 * NS, "m2", 3)],
        [LeaderRecord(2 * NS, "", 2), LeaderRecord(8 * NS, "m1", 3)],
        [FaultRecord(NS, "f", "pause", "m1", "injected"), FaultRecord(9 * NS, "f", "pause", "m1", "healed")],
        [FaultRecord(NS, "f", "pause", "m1", "injected")],
        [Invoke(50, NS, 1, "m1", LeaseKeepAlive(7)), Info(50, 4 * NS, "DEADLINE_EXCEEDED")],
        [Invoke(50, NS, 1, "m1", LeaseKeepAlive(7))],
    ],
)
def test_what_excuses_a_late_end(records: list[HistoryRecord]) -> None:
    tale = granted()
    tale.records += records
    tale.at_second(17).ok(LeaseKeepAlive(7), 2, LeaseResult(5))
    assert tale.result().verdict is Verdict.VALID
    assert not tale.result().findings


def test_a_revocation_explains_an_end_and_is_final() -> None:
    tale = granted()
    tale.at_second(1).info(LeaseRevoke(7))
    tale.ok(LeaseKeepAlive(7), 2, LeaseResult(0))
    assert tale.result().verdict is Verdict.VALID
    tale.ok(LeaseKeepAlive(7), 2, LeaseResult(5))
    assert "was renewed after its end" in tale.result().message
    tale = granted()
    tale.put("ka", "1:4", 3, lease=7)
    tale.ok(LeaseRevoke(7), 4)
    early = tale.put("kb", "2:4", 3, lease=7)  # another revision than real time says: not for this checker
    assert tale.result().findings[0].operations[0] == early


def test_a_lease_that_ends_by_its_keys_alone() -> None:
    tale = granted()
    tale.put("ka", "1:4", 3, lease=7)
    tale.records.append(WatchStart(1, 0, "m1", "k", 1, "l"))
    tale.records.append(Watched(1, tale.tick(), 3, (Event("ka", 3, "1:4", 3, 1, 7),)))
    tale.records.append(Watched(1, 2 * NS, 4, (Event("ka", 4, d=True),)))
    result = tale.result()
    assert result.verdict is Verdict.INVALID
    assert "its 1 keys were deleted at revision 4, and nobody asked" in result.message
    assert result.findings[0].revisions == (4,)


def test_a_question_for_the_time_to_live_across_an_election_is_weak() -> None:
    tale = granted()
    tale.at_second(3).ok(LeaseTimeToLive(7), 2, LeaseResult(-1))
    assert tale.result().verdict is Verdict.INVALID
    tale.records.append(LeaderRecord(3 * NS, "m2", 3))
    assert tale.result().verdict is Verdict.VALID


SIGNS: dict[str, Callable[[Tale], object]] = {
    "time to live": lambda tale: tale.ok(LeaseTimeToLive(7), 3, LeaseResult(1, 5)),
    "put": lambda tale: tale.put("kb", "2:4", 4, lease=7),
    "put in a transaction": lambda tale: tale.ok(
        Txn((), (Put("kb", "2:4", 7),)), 4, TxnResult(succeeded=True, responses=(PutResult(),))
    ),
    "read": lambda tale: tale.ok(Range("ka"), 3, RangeResult((kv("ka", "1:4", 3, lease=7),), 1)),
}


@pytest.mark.parametrize("sign", [*SIGNS, "content"])
@pytest.mark.parametrize(("second", "verdict"), [(14, Verdict.VALID), (60, Verdict.INVALID)])
def test_no_sign_of_life_after_the_time_of_a_lease(sign: str, second: float, verdict: Verdict) -> None:
    """No watcher is needed, nor that somebody renews it."""
    tale = granted()
    tale.put("ka", "1:4", 3, lease=7)
    tale.at_second(second)
    if sign == "content":
        tale.ok(Range("kz"), 3, RangeResult())
        (result,) = run_checkers(["leases"], tale.history, tale.end(3, kv("ka", "1:4", 3, lease=7)))
    else:
        SIGNS[sign](tale)
        (result,) = run_checkers(["leases"], tale.history, EndState(tale.tick(), {}))
    assert result.verdict is verdict, result
    if verdict is Verdict.INVALID:
        assert "after its time" in result.message
        assert result.findings[0].operations == ((1,) if sign == "content" else (1, 3))


def test_what_a_read_of_the_past_or_of_a_slow_member_shows_is_no_sign_of_life() -> None:
    shown = RangeResult((kv("ka", "1:4", 3, lease=7),), 1)
    for op in (Range("ka", r=3), Range("ka", s=True)):
        tale = granted()
        tale.put("ka", "1:4", 3, lease=7)
        tale.at_second(60).ok(op, 3, shown)
        assert tale.result().verdict is Verdict.VALID, op


def test_whether_keys_went_in_time_takes_a_watch_log_or_the_content_at_the_end() -> None:
    tale = granted()
    tale.put("ka", "1:4", 3, lease=7)
    nobody = EndState(100 * NS, {})
    assert run_checkers(["leases"], tale.history, nobody)[0].verdict is Verdict.VALID  # its time is not over
    tale.at_second(60).ok(Range("kz"), 3, RangeResult())
    (result,) = run_checkers(["leases"], tale.history, nobody)
    assert (result.verdict, "lease 7 went in time" in result.message) == (Verdict.UNKNOWN, True)
    assert tale.result().verdict is Verdict.VALID  # the content at the end has no key of it
    tale.records.append(WatchStart(1, 0, "m1", "k", 1, "l"))
    attached, gone = Event("ka", 3, "1:4", 3, 1, 7), Event("ka", 4, d=True)
    tale.records += [Watched(1, tale.tick(), 3, (attached,)), Watched(1, tale.tick(), 4, (gone,))]
    (result,) = run_checkers(["leases"], tale.history, nobody)
    assert (result.verdict, "ended 54.9" in result.message) == (Verdict.INVALID, True)  # the read was before
    tale.records = [r for r in tale.records if not (isinstance(r, Invoke | Ok) and r.id == 3)]
    assert run_checkers(["leases"], tale.history, nobody)[0].verdict is Verdict.VALID


def test_a_revocation_is_final_without_an_acknowledged_grant() -> None:
    def story(*, revoked: bool) -> Tale:
        tale = Tale()
        tale.info(LeaseGrant(7, 30))
        tale.at_second(2).ok(LeaseKeepAlive(7), 2, LeaseResult(30))
        if revoked:
            tale.at_second(3).ok(LeaseRevoke(7), 2)
        tale.at_second(4).ok(LeaseKeepAlive(7), 2, LeaseResult(30))
        tale.ok(LeaseGrant(8, 30), 2, LeaseResult(30))
        return tale

    result = story(revoked=True).result()
    assert (result.verdict, "lease 7 was renewed after its end" in result.message) == (Verdict.INVALID, True)
    assert result.findings[0].operations == (4, 3)
    assert story(revoked=False).result().verdict is Verdict.VALID
    # Whoever asked before anybody knew that it was there may have come before its grant.
    tale = Tale()
    tale.info(LeaseGrant(7, 30))
    tale.ok(LeaseKeepAlive(7), 2, LeaseResult(0))
    tale.ok(LeaseKeepAlive(7), 2, LeaseResult(30))
    tale.ok(LeaseGrant(8, 30), 2, LeaseResult(30))
    assert tale.result().verdict is Verdict.VALID


def test_the_time_to_live_of_what_was_revoked() -> None:
    def story(second: float, *records: HistoryRecord) -> CheckResult:
        tale = granted(30)
        tale.at_second(2).ok(LeaseRevoke(7), 2)
        tale.records += records
        tale.at_second(second).ok(LeaseTimeToLive(7), 2, LeaseResult(25, 30))
        return tale.result()

    result = story(5)
    assert (result.verdict, result.findings[0].operations) == (Verdict.INVALID, (3, 2))
    assert "is said to live after its end" in result.message
    assert story(2.5).verdict is Verdict.VALID  # a leader that is a moment behind
    assert story(5, LeaderRecord(3 * NS, "m2", 3)).verdict is Verdict.VALID  # one that was deposed


@pytest.mark.parametrize("sign", ["read", "content", "watch log"])
@pytest.mark.parametrize("gone", [False, True])
def test_what_was_revoked_has_no_keys(sign: str, *, gone: bool) -> None:
    tale = granted(30)
    tale.put("ka", "1:4", 3, lease=7)
    shown = () if gone else (kv("ka", "1:4", 3, lease=7),)
    end = EndState(100 * NS, {})
    if sign == "read":
        tale.ok(Range("ka"), 3, RangeResult((kv("ka", "1:4", 3, lease=7),), 1))
    last = tale.ok(LeaseRevoke(7), 4 if gone else 3)
    if sign == "read":
        last = tale.ok(Range("ka"), 4 if gone else 3, RangeResult(shown, len(shown)))
    elif sign == "content":
        end = tale.end(4 if gone else 3, *shown)
    else:
        tale.records.append(WatchStart(1, 0, "m1", "k", 1, "l"))
        tale.records.append(Watched(1, tale.tick(), 3, (Event("ka", 3, "1:4", 3, 1, 7),)))
        if gone:
            tale.records.append(Watched(1, tale.tick(), 4, (Event("ka", 4, d=True),)))
    (result,) = run_checkers(["leases"], tale.history, end)
    assert result.verdict is (Verdict.VALID if gone else Verdict.INVALID), result
    if not gone:
        assert re.match("lease 7 (had|has) a key after its end: ", result.message)
        assert last in result.findings[0].operations


@pytest.mark.parametrize("end", ["info", "none"])
def test_a_second_grant_of_unknown_outcome_may_bring_a_lease_back(end: str) -> None:
    tale = granted(30)
    tale.ok(LeaseRevoke(7), 2)
    if end == "info":
        tale.info(LeaseGrant(7, 30))
    else:
        tale.invoke(LeaseGrant(7, 30))
    tale.put("ka", "1:4", 3, lease=7)
    result = tale.result()
    assert (result.verdict, "perhaps 1 times more" in result.message) == (Verdict.UNKNOWN, True)
    tale.records = [r for r in tale.records if not (isinstance(r, Invoke | Info) and r.id == 3)]
    assert tale.result().verdict is Verdict.INVALID


def test_missing_evidence() -> None:
    (result,) = run_checkers(["leases"], History(), Story().end(1))
    assert (result.verdict, result.message) == (Verdict.UNKNOWN, "no lease was granted")
    tale = granted()
    tale.records = [record for record in tale.records if not isinstance(record, LeaderRecord)]
    assert "nobody watched for leaders" in tale.result().message
    tale = granted()
    tale.ok(LeaseGrant(7, 5), 2, LeaseResult(5))
    assert "granted 2 times" in tale.result().message
    tale = Tale()
    tale.put("ka", "1:4", 2, lease=9)
    tale.fail(Put("kb", "2:4", 9))
    assert tale.result().verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("after", ["nothing", "read", "put"])
def test_what_a_deposed_leader_denies_is_explained_whatever_shows_that_it_lives(after: str) -> None:
    """etcd#15247: it says that there is no such lease, and the lease lives."""
    tale = Story()
    tale.records.append(LeaderRecord(tale.tick(), "m1", 2))
    tale.ok(LeaseGrant(7, 60), 1, LeaseResult(60))
    tale.put("ka", "1:4", 2, lease=7)
    tale.records.append(LeaderRecord(tale.tick(), "m2", 3))
    tale.ok(LeaseKeepAlive(7), 2, LeaseResult(0))
    if after == "read":
        tale.ok(Range("ka"), 2, RangeResult((kv("ka", "1:4", 2, lease=7),), 1), member="m2")
    elif after == "put":
        tale.put("kb", "2:4", 3, lease=7)
    (result,) = run_checkers(["leases"], tale.history, EndState(tale.tick(), {}))
    assert result.verdict is Verdict.INVALID
    assert result.kinds == ("deposed",)
