"""Each loss is found, each innocent absence is not, and missing evidence is never ``valid``."""

from __future__ import annotations

import msgspec
import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState, MemberEnd
from tester.history.records import (
    Compare,
    Delete,
    Event,
    KeyValue,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    MemberRecord,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from tester.results import CheckResult, Verdict
from tests.unit.checkers.story import Story, kv


def judge(story: Story, end: EndState) -> CheckResult:
    (result,) = run_checkers(["durability"], story.history, end)
    return result


def two_puts() -> Story:
    story = Story()
    story.put("ka", "1:4", 2)
    story.put("kb", "2:4", 3)
    return story


A, B = kv("ka", "1:4", 2), kv("kb", "2:4", 3)


def test_everything_there_is_valid() -> None:
    story = two_puts()
    result = judge(story, story.end(3, A, B))
    assert result.verdict is Verdict.VALID
    assert "2 acknowledged changes of 2 keys" in result.message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ((A,), "kb on m1, m2, m3 at revision 3: absent, and nothing came after it"),
        ((A, kv("kb", "9:4", 3)), "another value is there (9:4, mod 3)"),
        ((A, kv("kb", "0:4", 1)), "an older state is there (0:4, mod 1)"),
    ],
)
def test_a_lost_put_is_invalid(content: tuple[KeyValue, ...], text: str) -> None:
    story = two_puts()
    result = judge(story, story.end(3, *content))
    assert result.verdict is Verdict.INVALID
    assert text in result.message
    assert result.findings[0].operations == (2,)
    assert 3 in result.findings[0].revisions
    assert "put kb = 2:4 by client 1 at m1, ok at revision 3" in result.message


def test_a_loss_on_one_member_names_that_member() -> None:
    story = two_puts()
    end = story.end(3, A, B)
    bent = MemberEnd(revision=3, hash=11, hash_revision=3, content=(A,), exits=())
    result = judge(story, EndState(end.at, {**end.members, "m2": bent}))
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].members == ("m2",)


def test_a_later_acknowledged_write_explains_an_older_one() -> None:
    story = two_puts()
    story.put("ka", "3:4", 4)
    story.delete("kb", 5)
    assert judge(story, story.end(5, kv("ka", "3:4", 4, 2, 2))).verdict is Verdict.VALID


def test_a_newer_unacknowledged_value_explains_an_older_one() -> None:
    story = two_puts()
    story.info(Put("ka", "3:4"))
    assert judge(story, story.end(4, kv("ka", "3:4", 4, 2, 2), B)).verdict is Verdict.VALID


def test_an_unacknowledged_write_may_be_lost() -> None:
    story = two_puts()
    story.info(Put("kc", "3:4"))
    story.fail(Put("kd", "4:4"))
    assert judge(story, story.end(3, A, B)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "suspect",
    [Delete("kb"), Delete("ka", "kz"), Delete("k", "\0"), Txn(orelse=(Delete("kb"),)), Put("kb", "3:4", 8)],
)
def test_an_unknown_delete_makes_an_absence_undecided(suspect: Delete | Txn | Put) -> None:
    story = two_puts()
    story.info(suspect)
    result = judge(story, story.end(4, A))
    assert result.verdict is Verdict.UNKNOWN
    assert "operation 3" in result.message


@pytest.mark.parametrize(
    "innocent", [Delete("ka"), Delete("ka", "kb"), Put("kb", "3:4"), Txn(orelse=(Delete("ka"),))]
)
def test_an_unknown_write_that_cannot_have_deleted_it_is_no_excuse(innocent: Delete | Txn | Put) -> None:
    story = two_puts()
    story.info(innocent)
    assert judge(story, story.end(4, A)).verdict is Verdict.INVALID


def test_the_watch_log_decides_about_an_unknown_delete() -> None:
    log = [Event("ka", 2, "1:4", 2, 1), Event("kb", 3, "2:4", 3, 1)]
    story = two_puts()
    story.info(Delete("kb"))
    story.watch(*log, Event("kb", 4, d=True))
    assert judge(story, story.end(4, A)).verdict is Verdict.VALID
    story = two_puts()
    story.info(Delete("kb"))
    story.watch(*log, rev=4)
    result = judge(story, story.end(4, A))
    assert result.verdict is Verdict.INVALID
    assert "watch log of revisions 1 to 4 shows no deletion" in result.message


def test_a_loss_that_was_overwritten_is_in_the_watch_log_alone() -> None:
    story = two_puts()
    story.put("kb", "3:4", 4)
    story.watch(Event("ka", 2, "1:4", 2, 1), Event("kb", 4, "3:4", 4, 1))
    result = judge(story, story.end(4, A, kv("kb", "3:4", 4)))
    assert result.verdict is Verdict.INVALID
    assert "lost: operation 2" in result.message


def test_a_change_of_another_value_in_the_watch_log_is_invalid() -> None:
    story = two_puts()
    story.put("kb", "3:4", 4)
    story.watch(Event("ka", 2, "1:4", 2, 1), Event("kb", 3, "7:4", 3, 1), Event("kb", 4, "3:4", 3, 2))
    assert judge(story, story.end(4, A, kv("kb", "3:4", 4, 3, 2))).verdict is Verdict.INVALID


def test_a_deaf_watcher_does_not_make_a_loss_of_what_is_there() -> None:
    story = two_puts()
    story.watch(Event("ka", 2, "1:4", 2, 1), rev=3)
    assert judge(story, story.end(3, A, B)).verdict is Verdict.VALID


def test_a_watcher_of_a_part_proves_nothing_about_the_rest() -> None:
    story = two_puts()
    story.info(Delete("kb"))
    story.watch(rev=4, start=4)  # begins after the put it would have to show
    story.records[-2] = type(story.records[-2])(1, story.at, "m1", "ka", 1, "kb")
    assert judge(story, story.end(4, A)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("deletion", ["single", "range"])
def test_a_deleted_key_that_comes_back_is_invalid(deletion: str) -> None:
    story = two_puts()
    if deletion == "single":
        story.delete("kb", 4)
    else:
        story.delete("ka", 4, "l", 2)
    result = judge(story, story.end(4, A, B) if deletion == "single" else story.end(4, B))
    assert result.verdict is Verdict.INVALID
    assert "a deleted key is there (2:4, mod 3)" in result.message


def test_a_delete_that_deleted_nothing_promises_nothing() -> None:
    story = two_puts()
    story.delete("kc", 3, deleted=0)
    assert judge(story, story.end(3, A, B)).verdict is Verdict.VALID


def test_a_range_delete_explains_absence() -> None:
    story = two_puts()
    story.delete("ka", 4, "kb\0", 2)
    assert judge(story, story.end(4)).verdict is Verdict.VALID


def test_only_the_branch_taken_was_promised() -> None:
    story = two_puts()
    condition = (Compare("ka", "mod", "=", 2),)
    txn = Txn(condition, then=(Put("kc", "3:4"), Delete("kb")), orelse=(Put("kd", "4:4"),))
    story.ok(txn, 4, TxnResult(succeeded=False, responses=(PutResult(),)))
    assert judge(story, story.end(4, A, B, kv("kd", "4:4", 4))).verdict is Verdict.VALID
    assert judge(story, story.end(4, A, B, kv("kc", "3:4", 4))).verdict is Verdict.INVALID


def test_a_leased_key_may_expire_unless_the_watch_log_knows_better() -> None:
    story = Story()
    story.put("ka", "1:4", 2, lease=8)
    assert judge(story, story.end(3)).verdict is Verdict.UNKNOWN
    story.watch(Event("ka", 2, "1:4", 2, 1, 8), rev=3)
    assert judge(story, story.end(3)).verdict is Verdict.INVALID


def test_a_revoked_lease_takes_its_key_with_it() -> None:
    story = Story()
    story.put("ka", "1:4", 2, lease=8)
    story.ok(LeaseRevoke(8), 3, LeaseResult())
    assert judge(story, story.end(3)).verdict is Verdict.VALID


def test_a_cluster_behind_an_acknowledged_revision_is_invalid() -> None:
    story = two_puts()
    result = judge(story, story.end(2, A))
    assert result.verdict is Verdict.INVALID
    assert "is at revision 2, but acknowledged a write at revision 3" in result.message


def test_content_read_too_early_is_unknown() -> None:
    story = two_puts()
    end = story.end(3, A)
    early = MemberEnd(revision=3, hash=1, hash_revision=2, content=(A,), exits=())
    assert judge(story, EndState(end.at, dict.fromkeys(end.members, early))).verdict is Verdict.UNKNOWN


def test_what_was_invoked_after_the_end_state_is_not_judged_by_it() -> None:
    story = two_puts()
    end = story.end(3, A, B)
    story.put("kc", "3:4", 4)
    assert judge(story, end).verdict is Verdict.VALID


def test_no_evidence_is_unknown() -> None:
    story = Story()
    assert judge(story, story.end(1)).verdict is Verdict.UNKNOWN
    assert "no write was acknowledged" in judge(story, story.end(1)).message
    story = two_puts()
    result = judge(story, EndState(story.tick(), {"m1": MemberEnd(error="unreachable")}))
    assert result.verdict is Verdict.UNKNOWN
    assert "no member returned its content" in result.message


@pytest.mark.parametrize("seen", ["read", "serializable read", "event", "bookmark", "lease"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_revision_that_was_shown_is_not_taken_back(seen: str, *, lost: bool) -> None:
    """Of a put of unknown outcome: whoever saw it may rely on it."""
    story = Story()
    story.put("ka", "1:4", 2)
    story.info(Put("ka", "2:4"))
    new = kv("ka", "2:4", 3, 2, 2)
    found = RangeResult((new,), 1)
    if seen.endswith("read"):
        story.ok(Range("ka", s=seen == "serializable read"), 3, found)
    elif seen == "lease":
        story.ok(LeaseKeepAlive(7), 3, LeaseResult(5))
    else:
        changes = (Event("ka", 2, "1:4", 2, 1), Event("ka", 3, "2:4", 2, 2))
        story.watch(*changes[: 1 + (seen == "event")], rev=3 if seen == "bookmark" else 0)
    result = judge(story, story.end(2, A) if lost else story.end(3, new))
    assert result.verdict is (Verdict.INVALID if lost else Verdict.VALID), result
    if lost:
        assert result.message.startswith("the cluster is at revision 2, but ")
        assert "revision 3" in result.message
        assert result.findings[0].revisions == (3, 2)


def test_what_is_shown_after_the_end_state_is_no_part_of_it() -> None:
    story = two_puts()
    end = story.end(3, A, B)
    story.ok(Range("kc"), 9, RangeResult())
    story.watch(rev=9)
    assert judge(story, end).verdict is Verdict.VALID


def test_what_is_shown_while_the_end_state_is_read_need_not_be_in_it() -> None:
    """A lease ends when a member has been asked for its revision, and before another has answered."""
    story = two_puts()
    asked = story.tick()
    story.watch(rev=4)
    end = story.end(3, A, B)
    assert judge(story, msgspec.structs.replace(end, asked=asked)).verdict is Verdict.VALID
    assert judge(story, msgspec.structs.replace(end, asked=story.tick())).verdict is Verdict.INVALID
    assert judge(story, end).verdict is Verdict.INVALID, "without that time it is that of the whole"


@pytest.mark.parametrize("member", [None, MemberEnd(error="UNAVAILABLE: connection refused")])
def test_a_voter_that_could_not_be_read_may_have_lost_anything(member: MemberEnd | None) -> None:
    story = two_puts()
    members = dict(story.end(3, A, B).members)
    del members["m3"]
    if member is not None:
        members["m3"] = member
    result = judge(story, EndState(story.tick(), members))
    assert result.verdict is Verdict.UNKNOWN
    assert "m3" in result.message
    story.records.append(MemberRecord(story.at - 1, "m3", "leaving"))
    assert judge(story, EndState(story.tick(), members)).verdict is Verdict.VALID, "it was removed"


@pytest.mark.parametrize("silent", [1, 2])
def test_a_few_that_lag_are_no_cluster(silent: int) -> None:
    """What was acknowledged is on a majority: one of those that can be read has it, if they are one."""
    story = two_puts()
    members = dict(story.end(2, A).members)
    for name in ("m1", "m2")[:silent]:
        members[name] = MemberEnd(error="UNAVAILABLE: connection refused")
    result = judge(story, EndState(story.tick(), members))
    assert result.verdict is (Verdict.INVALID if silent == 1 else Verdict.UNKNOWN), result
