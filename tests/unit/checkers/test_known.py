"""A known bug is named beside the verdict, where it is all that was found, and changes nothing."""

from __future__ import annotations

import msgspec
import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState, LogEvidence, MemberEnd
from tester.history.history import History
from tester.history.records import (
    Event,
    Header,
    HistoryRecord,
    LeaderRecord,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    MemberRecord,
    Watched,
    WatchStart,
)
from tester.results import CheckResult, Verdict
from tests.unit.checkers.story import Story


def judged(version: str, *, late: bool = True, twice: bool = False, old: bool = False) -> CheckResult:
    """A watcher that is told of revision 2 after a notification that covers it, perhaps twice, perhaps as old."""
    story = Story()
    story.put("ka", "1:4", 2)
    event = Event("ka", 2, "1:4", 2, 7 if old else 1)
    story.records.append(WatchStart(1, story.tick(), "m1", "k", 1, "l"))
    if late:
        story.records.append(Watched(1, story.tick(), 2))
    story.records += [Watched(1, story.tick(), 2, (event,)) for _ in range(2 if twice else 1)]
    header = story.records[0]
    assert isinstance(header, Header)
    records = [msgspec.structs.replace(header, versions=(version,)), *story.records[1:]]
    (result,) = run_checkers(["watch"], History(records), EndState(story.tick(), {}))
    return result


@pytest.mark.parametrize("version", ["3.4.23", "3.4.23-gofail", "3.5.1"])
def test_it_is_named(version: str) -> None:
    result = judged(version)
    assert (result.verdict, result.kinds) == (Verdict.INVALID, ("bookmarkable",))
    assert f"etcd {version} is known for it" in result.known
    assert "etcd/issues/15220, mended in 3.4.25 and 3.5.8" in result.known


@pytest.mark.parametrize("version", ["3.4.25", "3.5.8", "3.5.30", "3.6.0", "mine"])
def test_not_for_a_version_without_it(version: str) -> None:
    result = judged(version)
    assert (result.verdict, result.known) == (Verdict.INVALID, "")


def test_a_snapshot_makes_a_member_repeat_itself() -> None:
    result = judged("3.4.23", late=False, twice=True)
    assert (result.verdict, set(result.kinds)) == (Verdict.INVALID, {"unique"})
    assert "etcd/issues/15271, mended in 3.4.25 and 3.5.8" in result.known
    assert "15220" not in result.known
    both = judged("3.4.23", twice=True)
    assert set(both.kinds) == {"bookmarkable", "unique"}
    assert "15220" in both.known
    assert "15271" in both.known
    assert (mended := judged("3.5.8", twice=True)).verdict is Verdict.INVALID
    assert mended.known == ""


def test_not_where_something_else_was_found_too_or_nothing() -> None:
    both = judged("3.4.23", old=True)
    assert set(both.kinds) > {"bookmarkable"}
    assert (both.verdict, both.known) == (Verdict.INVALID, "")
    right = judged("3.4.23", late=False)
    assert (right.verdict, right.known) == (Verdict.VALID, "")


@pytest.mark.parametrize(("leaver", "known"), [("m1", True), ("m2", False)])
@pytest.mark.parametrize("version", ["3.4.23", "3.5.30", "3.6.1"])
def test_a_member_that_panics_while_it_is_being_removed(version: str, leaver: str, *, known: bool) -> None:
    story = Story()
    header = story.records[0]
    assert isinstance(header, Header)
    history = History(
        [msgspec.structs.replace(header, versions=(version,)), MemberRecord(5, leaver, "leaving")]
    )
    log = LogEvidence(99, ("panic: failed to find local ID in cluster members",))
    (result,) = run_checkers(["logs"], history, EndState(9, {"m1": MemberEnd(log=log, exits=())}))
    assert (result.verdict, result.kinds) == (Verdict.INVALID, ("removed" if known else "panic",))
    assert ("etcd/issues/21966, open" in result.known) is known
    assert result.explanation


def deposed(version: str, answer: int, *changes: HistoryRecord) -> CheckResult:
    """A lease that is revoked, or denied, and a leader that does not know what another one has done meanwhile."""
    story = Story()
    story.records.append(LeaderRecord(0, "m1", 2))
    story.ok(LeaseGrant(7, 30), 2, LeaseResult(30))
    story.records += changes
    story.at = 5_000_000_000
    if answer:
        story.ok(LeaseRevoke(7), 2)
    story.ok(LeaseKeepAlive(7), 2, LeaseResult(answer))
    header = story.records[0]
    assert isinstance(header, Header)
    records = [msgspec.structs.replace(header, versions=(version,)), *story.records[1:]]
    (result,) = run_checkers(["leases"], History(records), EndState(story.tick(), {}))
    assert result.verdict is Verdict.INVALID
    assert result.explanation
    return result


@pytest.mark.parametrize("answer", [0, 30])
def test_a_deposed_leader_and_leases(answer: int) -> None:
    elected = LeaderRecord(4_000_000_000, "m2", 3)
    for version in ("3.4.23", "3.4.30", "3.5.1", "3.5.12"):
        result = deposed(version, answer, elected)
        assert result.kinds == ("deposed",)
        assert "etcd/issues/15247, mended in 3.4.31 and 3.5.13" in result.known
    for version in ("3.4.31", "3.5.13", "3.5.30", "3.6.0"):
        assert deposed(version, answer, elected).known == ""
    undisturbed = deposed("3.5.1", answer)
    assert (undisturbed.kinds, undisturbed.known) == (("final",) if answer else ("early",), "")
