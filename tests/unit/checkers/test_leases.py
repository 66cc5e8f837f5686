"""``leases``: every way in which a lessor can lie is caught, and one that is right is never blamed."""

from __future__ import annotations

from random import Random

import pytest

from tester.checkers import run_checkers
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
    Put,
    Watched,
    WatchStart,
)
from tester.results import CheckResult, Verdict
from tests.unit.checkers.leaseworld import LIES, NS, LeaseWorld
from tests.unit.checkers.story import Story


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
