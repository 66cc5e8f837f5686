"""A cluster that is lost and restored: what the snapshot has must be there, what came after it must not."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import CHECKERS, run_checkers
from tester.checkers.epochs import OVER
from tester.history.history import History
from tester.history.records import (
    Compact,
    EpochRecord,
    Event,
    Fail,
    FaultRecord,
    Info,
    Invoke,
    KeyValue,
    LeaderRecord,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    MemberRecord,
    Put,
    Range,
    RangeResult,
    RestoredRecord,
    WatchEnd,
)
from tester.results import CheckResult, Verdict
from tests.unit.checkers.epochworld import simulate_disaster
from tests.unit.checkers.story import MEMBERS, Story, kv
from tests.unit.checkers.world import Mix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.history.endstate import EndState

PROOFS = ("linearizable", "serializable", "watch", "durability", "kv-hash", "restore")
BEFORE, KEPT = kv("ka", "1:4", 2), kv("kb", "2:4", 3)


def judge(name: str, story: Story, end: EndState) -> CheckResult:
    (result,) = run_checkers([name], story.history, end, lambda: story.records)
    return result


def test_every_checker_says_what_it_judges() -> None:
    assert set(OVER) == set(CHECKERS)


def test_a_right_history_is_never_invalid() -> None:
    verdicts: dict[str, list[Verdict]] = {name: [] for name in PROOFS}
    for seed in range(24):
        run = simulate_disaster(Random(seed), Mix(), epochs=2 + seed % 2)
        for result in run_checkers(PROOFS, run.history, run.end, lambda run=run: run.records):
            assert result.verdict is not Verdict.INVALID, (seed, result)
            verdicts[result.checker].append(result.verdict)
    assert all(found.count(Verdict.VALID) > 12 for found in verdicts.values()), verdicts


def test_epochs_that_are_mixed_up_are_invalid() -> None:
    """The control: the same histories, judged as those of one cluster."""
    verdicts = set()
    for seed in range(5):
        run = simulate_disaster(Random(seed), Mix())
        mixed = History(record for record in run.records if not isinstance(record, EpochRecord))
        verdicts |= {result.verdict for result in run_checkers(["linearizable"], mixed, run.end)}
    assert verdicts == {Verdict.INVALID}


# --- by hand ----------------------------------------------------------------------------------------------


class Disaster(Story):
    """Two writes, a snapshot at revision 3, a write at revision 4 that is lost; then another cluster."""

    def __init__(self, *, watched: bool = True) -> None:
        super().__init__()
        self.put("ka", "1:4", 2)
        self.put("kb", "2:4", 3)
        self.asked = self.tick()
        self.taken = self.tick()
        self.lost = self.put("ka", "3:4", 4)
        if watched:
            events = (Event("ka", 2, "1:4", 2, 1), Event("kb", 3, "2:4", 3, 1), Event("ka", 4, "3:4", 2, 2))
            self.watch(*events)
            self.records.append(WatchEnd(1, self.tick(), "UNAVAILABLE"))

    def restore(self, *content: KeyValue, revision: int = 3, members: Iterable[str] = MEMBERS) -> None:
        self.records.append(EpochRecord(self.tick(), 2, 3, "m1", self.asked, self.taken))
        self.records += [RestoredRecord(self.tick(), member, revision, content) for member in members]


def test_what_the_snapshot_has_is_there_and_what_came_after_is_counted() -> None:
    story = Disaster()
    story.restore(BEFORE, KEPT)
    story.put("kc", "4:4", 4)
    end = story.end(4, BEFORE, KEPT, kv("kc", "4:4", 4))
    for name in ("restore", "durability", "linearizable"):
        assert judge(name, story, end).verdict is Verdict.VALID, name
    message = judge("restore", story, end).message
    assert "2 acknowledged writes up to there are on 3 members" in message
    assert "1 after it, up to revision 4, are lost by design" in message


@pytest.mark.parametrize("known", [True, False])
def test_a_compaction_between_snapshot_and_loss_was_asked_for(*, known: bool) -> None:
    """The old cluster's watcher was told of it, with reason; that stays so in the view of the new one."""
    story = Disaster(watched=False)
    story.watch(Event("ka", 2, "1:4", 2, 1))
    if known:
        story.ok(Compact(4), 4)
    else:
        story.info(Compact(4))
    story.records.append(WatchEnd(1, story.tick(), "compacted", 4))
    story.restore(BEFORE, KEPT)
    story.put("kc", "4:4", 4)
    story.watch(Event("kc", 4, "4:4", 4, 1), start=4, watcher=2)
    result = judge("watch", story, story.end(4, BEFORE, KEPT, kv("kc", "4:4", 4)))
    assert result.verdict is Verdict.VALID, result


def test_what_watchers_of_a_lost_cluster_were_told_proves_nothing_of_the_next() -> None:
    """Two disasters. Of revision 4 the first cluster's watcher has told, the second's has not."""
    story = Disaster()
    story.restore(BEFORE, KEPT)
    story.info(Put("kc", "5:4"))
    asked, taken = story.tick(), story.tick()
    new = kv("kc", "5:4", 4)
    story.records.append(EpochRecord(story.tick(), 3, 4, "m1", asked, taken))
    story.records += [RestoredRecord(story.tick(), member, 4, (BEFORE, KEPT, new)) for member in MEMBERS]
    story.put("kd", "6:4", 5)
    end = story.end(5, BEFORE, KEPT, new, kv("kd", "6:4", 5))
    for name in PROOFS:
        assert judge(name, story, end).verdict is not Verdict.INVALID, judge(name, story, end)


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ((BEFORE,), "kb on m1, m2, m3 at revision 3: absent"),
        ((kv("ka", "0:4", 1), KEPT), "an older state is there"),
        ((kv("ka", "9:4", 2), KEPT), "another value is there (9:4, mod 2)"),
        ((kv("ka", "3:4", 4, 2, 2), KEPT), ", after the snapshot"),
        ((kv("ka", "3:4", 2), KEPT), ", after the snapshot"),
        ((BEFORE, KEPT, kv("kz", "7:4", 3)), "nobody wrote that there by then"),
    ],
)
def test_a_snapshot_that_was_restored_wrongly_is_invalid(
    content: tuple[KeyValue, ...], text: str, *, watched: bool
) -> None:
    story = Disaster(watched=watched)
    story.restore(*content)
    result = judge("restore", story, story.end(3, *content))
    assert result.verdict is Verdict.INVALID
    assert any(text in finding.message for finding in result.findings), result


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("bend", [{"ver": 5}, {"c": 1}, {"l": 77}])
def test_a_key_that_was_restored_with_other_numbers_is_invalid(
    bend: dict[str, int], *, watched: bool
) -> None:
    """On all members alike, whether watchers told the numbers or not."""
    story = Disaster(watched=watched)
    bent = msgspec.structs.replace(KEPT, **bend)
    story.restore(BEFORE, bent)
    assert judge("restore", story, story.end(3, BEFORE, bent)).verdict is Verdict.INVALID


def test_a_lease_is_restored_with_its_key() -> None:
    story = Disaster(watched=False)
    leased = kv("kc", "7:4", 4, lease=9)
    story.records = [r for r in story.records if getattr(r, "id", 0) != story.lost]
    story.put("kc", "7:4", 4, lease=9)
    story.records.append(EpochRecord(story.tick(), 2, 4, "m1", story.tick(), story.tick()))
    told = [RestoredRecord(story.tick(), member, 4, (BEFORE, KEPT, leased)) for member in MEMBERS]
    story.records += told
    assert judge("restore", story, story.end(4)).verdict is Verdict.VALID
    del story.records[-3:]
    lost = msgspec.structs.replace(leased, l=0)
    story.records += [msgspec.structs.replace(one, kv=(BEFORE, KEPT, lost)) for one in told]
    result = judge("restore", story, story.end(4))
    assert result.verdict is Verdict.INVALID
    assert "another lease is there, 0" in result.message


def test_members_that_were_restored_differently_are_invalid() -> None:
    story = Disaster(watched=False)
    story.restore(BEFORE, KEPT, members=("m1", "m3"))
    bent = msgspec.structs.replace(KEPT, c=1, ver=2)
    story.records.append(RestoredRecord(story.tick(), "m2", 3, (BEFORE, bent)))
    result = judge("restore", story, story.end(3))
    assert result.verdict is Verdict.INVALID
    assert "at revision 3 m1 has kb = 2:4 (mod 3, create 3, version 1), m2 has kb = 2:4 (mod 3, create 1" in (
        result.message
    )


def test_every_member_of_the_new_cluster_has_to_tell() -> None:
    story = Disaster()
    story.restore(BEFORE, KEPT, members=("m1", "m3"))
    result = judge("restore", story, story.end(3))
    assert (result.verdict, "nobody told what m2 began with" in result.message) == (Verdict.UNKNOWN, True)
    epoch = next(n for n, record in enumerate(story.records) if isinstance(record, EpochRecord))
    story.records.insert(epoch, MemberRecord(story.taken, "m2", "leaving"))  # the new cluster is of two
    assert judge("restore", story, story.end(3)).verdict is Verdict.VALID


def test_a_member_that_begins_too_early_is_invalid() -> None:
    story = Disaster()
    story.restore(BEFORE, KEPT, revision=2)
    assert "m1 is at revision 2" in judge("restore", story, story.end(3, BEFORE, KEPT)).message


def test_without_evidence_nothing_is_said() -> None:
    story = Disaster()
    end = story.end(4)
    assert judge("restore", story, end).verdict is Verdict.UNKNOWN, "nothing was restored"
    story.restore(members=())
    end = story.end(4)
    assert judge("restore", story, end).verdict is Verdict.UNKNOWN, "nobody told"
    (blind,) = run_checkers(["linearizable"], story.history, end)
    assert blind.verdict is Verdict.UNKNOWN, "nobody can read it anew"


def test_an_answer_with_a_lost_value_is_invalid() -> None:
    """Read in the new cluster, at a revision of its own."""
    story = Disaster()
    story.restore(BEFORE, KEPT)
    story.put("kc", "4:4", 4)
    story.ok(Range("ka"), 4, RangeResult((kv("ka", "3:4", 4, 2, 2),), 1))
    result = judge("linearizable", story, story.end(4, BEFORE, KEPT, kv("kc", "4:4", 4)))
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].message.startswith("epoch 2: ")
    assert "3:4" in result.findings[0].message


def test_a_write_that_was_lost_is_no_loss_and_one_that_was_kept_is() -> None:
    story = Disaster()
    story.restore(BEFORE, KEPT)
    story.put("kc", "4:4", 4)
    assert judge("durability", story, story.end(4, BEFORE, kv("kc", "4:4", 4))).verdict is Verdict.INVALID


def test_a_verdict_of_several_epochs_is_explained_like_one() -> None:
    story = Disaster()
    story.watch(Event("ka", 2, "1:4", 2, 1), Event("ka", 2, "1:4", 2, 1), watcher=2)
    story.records.append(WatchEnd(2, story.tick(), "UNAVAILABLE"))
    story.restore(BEFORE, KEPT)
    result = judge("watch", story, story.end(3, BEFORE, KEPT))
    assert result.verdict is Verdict.INVALID
    assert result.kinds == ("unique",)
    assert result.explanation.count("told of one change twice") == 1
    assert not result.known


@pytest.mark.parametrize("revision", [3, 4])
def test_an_unknown_write_is_of_its_own_cluster(revision: int) -> None:
    """In the snapshot it may be; what the old cluster was asked for never comes in the new one."""
    story = Story()
    story.put("ka", "1:4", 2)
    story.info(Put("kb", "2:4"))
    asked = story.tick()
    events = [Event("ka", 2, "1:4", 2, 1), Event("kb", 3, "2:4", 3, 1), Event("kc", 4, "4:4", 4, 1)]
    if revision == 4:
        events[1:] = [Event("kc", 3, "4:4", 3, 1), Event("kb", 4, "2:4", 4, 1)]
    snapshot = 3 if revision == 3 else 2
    story.records.append(EpochRecord(story.tick(), 2, snapshot, "m1", asked, story.tick()))
    story.put("kc", "4:4", 7 - revision)
    story.watch(*events)
    content = [kv(event.k, event.v, event.m) for event in events]
    result = judge("linearizable", story, story.end(4, *content))
    assert result.verdict is (Verdict.VALID if revision == 3 else Verdict.INVALID), result


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("what", ["granted", "revoked"])
def test_leases_are_of_the_snapshot(what: str, *, after: bool) -> None:
    """What became of a lease after the snapshot never happened; what became of it before has to last."""
    story = Story()
    story.records.append(LeaderRecord(0, "m1", 1))
    if what != "granted":
        story.ok(LeaseGrant(7, 60), 1, LeaseResult(60))
    steps = [("put", 0), (what, 0), ("put", 1), ("snapshot", 0), ("put", 2)]
    if after:
        steps = [("put", 0), ("put", 1), ("snapshot", 0), ("put", 2), (what, 0)]
    asked = taken = 0
    for step, number in steps:
        if step == "put":
            story.put(f"k{number}", f"{number + 1}:4", number + 2)
        elif step == "granted":
            story.ok(LeaseGrant(7, 60), 4, LeaseResult(60))
        elif step == "revoked":
            story.ok(LeaseRevoke(7), 4, LeaseResult())
            refuse(story)
        else:
            asked, taken = story.tick(), story.tick()
    story.records.append(FaultRecord(story.tick(), "f", "lose-data", "m1", "injected"))
    story.records.append(EpochRecord(story.tick(), 2, 3, "m1", asked, taken))
    if what == "granted":
        refuse(story)
    else:
        story.ok(LeaseKeepAlive(7), 3, LeaseResult(60))
    story.records.append(FaultRecord(story.tick(), "f", "lose-data", "m1", "healed"))
    result = judge("leases", story, story.end(3))
    mixed = History(record for record in story.records if not isinstance(record, EpochRecord))
    (as_one,) = run_checkers(["leases"], mixed, story.end(3))
    assert as_one.verdict is Verdict.INVALID, "as of one cluster it is a contradiction"
    assert (result.verdict is Verdict.INVALID) is not after, result


def refuse(story: Story) -> None:
    operation = story.invoke(Put("kx", "8:4", 7))
    text = "etcdserver: requested lease not found"
    story.records.append(Fail(operation, story.tick(), "NOT_FOUND", text))


def test_what_is_in_flight_at_the_end_of_a_cluster_is_of_no_other() -> None:
    """It was drained before; and if it was not, its answer is the new cluster's."""
    story = Disaster()
    left = story.invoke(Put("kb", "5:4"))
    story.restore(BEFORE, KEPT)
    story.records.append(Info(left, story.tick(), "UNAVAILABLE"))
    assert isinstance(story.records[-1], Info)
    assert any(isinstance(record, Invoke) and record.id == left for record in story.records)
    story.put("kc", "4:4", 4)
    end = story.end(4, BEFORE, KEPT, kv("kc", "4:4", 4))
    assert judge("linearizable", story, end).verdict is Verdict.VALID
