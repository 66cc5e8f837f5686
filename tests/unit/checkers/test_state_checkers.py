"""``kv-hash``, ``recovery``, ``exits``, the end state file, and what happens when a checker crashes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import CHECKERS, run_checkers
from tester.checkers.base import run
from tester.history.endstate import CaseRecovery, EndState, EndStateError, MemberEnd, MemberExit
from tester.history.history import History
from tester.history.mismatch import HistoryMismatchError
from tester.history.records import (
    Compare,
    Delete,
    Invoke,
    MemberRecord,
    Ok,
    Put,
    RangeResult,
    Txn,
    TxnResult,
)
from tester.results import CheckResult, Recovery, Verdict
from tests.unit.checkers.story import Story, kv
from tests.unit.checkers.tables import texts_of
from tests.unit.checkers.world import Mix, simulate

if TYPE_CHECKING:
    from pathlib import Path

A, B = kv("ka", "1:4", 2), kv("kb", "2:4", 3)


def judge(name: str, story: Story, end: EndState) -> CheckResult:
    (result,) = run_checkers([name], story.history, end)
    return result


def bend(end: EndState, **changes: object) -> EndState:
    return EndState(end.at, {**end.members, "m2": msgspec.structs.replace(end.members["m2"], **changes)})


def test_equal_members_are_valid() -> None:
    story = Story()
    assert judge("kv-hash", story, story.end(3, A, B)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("changes", "verdict", "text"),
    [
        ({"hash": 12}, Verdict.INVALID, "hashes of revision 3 (compacted at 1) differ"),
        ({"revision": 4}, Verdict.INVALID, "members differ at rest: revision 3 on m1, m3; revision 4 on m2"),
        ({"revision": 2, "applied_index": 2}, Verdict.UNKNOWN, "had not applied everything"),
        ({"content": (A,)}, Verdict.INVALID, "m1 has kb = 2:4 (mod 3, create 3, version 1), m2 has no kb"),
        ({"content": (A, kv("kb", "2:4", 3, lease=9))}, Verdict.INVALID, "lease 9"),
        ({"compact_revision": 2}, Verdict.UNKNOWN, "not comparable"),
        ({"hash_revision": 2}, Verdict.UNKNOWN, "not comparable"),
        ({"hash": None}, Verdict.UNKNOWN, "m2 told no hash"),
        ({"error": "connection refused"}, Verdict.UNKNOWN, "m2 could not be read: connection refused"),
        ({"alarms": ("CORRUPT",)}, Verdict.INVALID, "CORRUPT alarm"),
    ],
)
def test_a_bent_member_is_told(changes: dict[str, object], verdict: Verdict, text: str) -> None:
    story = Story()
    result = judge("kv-hash", story, bend(story.end(3, A, B), **changes))
    assert result.verdict is verdict
    assert text in result.message


def test_members_that_had_not_come_to_rest_are_not_compared() -> None:
    story = Story()
    end = bend(story.end(3, A, B), revision=4)
    result = judge("kv-hash", story, msgspec.structs.replace(end, moving=("m2", "m1")))
    assert result.verdict is Verdict.UNKNOWN
    assert "m1, m2 had not come to rest: revision 3 on m1, m3; revision 4 on m2" in result.message


def test_an_absent_member_is_unknown_but_hides_no_difference() -> None:
    story = Story()
    assert judge("kv-hash", story, story.end(3, A, members=("m1", "m2"))).verdict is Verdict.UNKNOWN
    bent = bend(story.end(3, A, members=("m1", "m2")), hash=1)
    assert judge("kv-hash", story, bent).verdict is Verdict.INVALID
    assert judge("kv-hash", story, EndState(1, {})).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("leader", "writes", "verdict", "text"),
    [
        (0.5, 1.5, Verdict.VALID, "whole again within 1.500 s"),
        (0.5, 2.5, Verdict.INVALID, "case kill-one: the cluster took 2.500 s to accept writes"),
        (None, 1.0, Verdict.INVALID, "did not have a leader within 2 s"),
    ],
)
def test_recovery_against_its_limit(leader: float | None, writes: float, verdict: Verdict, text: str) -> None:
    times = Recovery(leader=leader, serving=1.0, writes=writes, limit=2.0)
    result = judge("recovery", Story(), EndState(1, {}, (CaseRecovery("kill-one", times),)))
    assert result.verdict is verdict
    assert text in result.message


def test_no_measured_recovery_is_unknown() -> None:
    assert judge("recovery", Story(), EndState(1, {})).verdict is Verdict.UNKNOWN


def test_exits() -> None:
    story = Story()
    end = story.end(3, A)
    asked = MemberExit(at=5, expected=True, cause="stop", signal=15)
    died = MemberExit(at=2_000_000_000, expected=False, cause="unexpected", code=2, log_tail=("panic: oh",))
    assert judge("exits", story, end).verdict is Verdict.VALID
    assert judge("exits", story, bend(end, exits=(asked,))).verdict is Verdict.VALID
    assert judge("exits", story, bend(end, exits=None)).verdict is Verdict.UNKNOWN
    result = judge("exits", story, bend(end, exits=(asked, died)))
    assert result.verdict is Verdict.INVALID
    assert result.message == (
        "m2 exited with status 2 at 2.000 s, nobody asked for it (unexpected); last log line: panic: oh"
    )
    assert result.findings[0].members == ("m2",)


def test_an_exit_that_only_the_history_knows_counts() -> None:
    story = Story()
    story.records.append(MemberRecord(7, "m3", "exited", expected=False, text="signal 11"))
    assert judge("exits", story, story.end(3)).verdict is Verdict.INVALID


def test_the_end_state_survives_its_file(tmp_path: Path) -> None:
    times = CaseRecovery("case", Recovery(0.1, None, 0.3, 2.0))
    end = EndState(
        5,
        {
            "m1": MemberEnd(
                revision=3, hash=2**32 - 1, content=(A,), exits=(MemberExit(1, expected=True, cause="stop"),)
            )
        },
        (times,),
    )
    end.save(tmp_path / "end-state.json")
    assert EndState.load(tmp_path / "end-state.json") == end
    (tmp_path / "end-state.json").write_text("{}")
    with pytest.raises(EndStateError, match="at"):
        EndState.load(tmp_path / "end-state.json")
    with pytest.raises(EndStateError, match="No such file"):
        EndState.load(tmp_path / "none.json")


class Crashing:
    name = "crashing"
    scope = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        raise ZeroDivisionError("by design")


def test_a_crashing_checker_is_unknown_with_the_reason() -> None:
    (result,) = run({"crashing": Crashing()}, ["crashing"], History(), EndState(1, {}))
    assert result.verdict is Verdict.UNKNOWN
    assert result.message == "the checker crashed: ZeroDivisionError: by design"


def test_no_checker_says_valid_about_nothing() -> None:
    for result in run_checkers(CHECKERS, History(), EndState(1, {})):
        assert result.verdict is Verdict.UNKNOWN, result
        assert result.message


def test_extending_bit_by_bit_is_the_same_history() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.delete("ka", 3)
    whole, grown = story.history, History()
    for record in story.records:
        grown.extend([record])
    assert grown.operations.rows.columns.tolist() == whole.operations.rows.columns.tolist()
    assert grown.operations.leaves.columns.tolist() == whole.operations.leaves.columns.tolist()
    assert "put ka = 1:4" in grown.describe(1)


def test_rows_do_not_depend_on_what_is_read_together() -> None:
    run = simulate(Random(3), Mix(operations=80, txns=0.4, leases=0.2, unknown=0.2, breaks=0.1))
    one_by_one = History()
    for record in run.records:
        one_by_one.extend([record])
    assert all(texts_of(run.history).values())
    assert texts_of(one_by_one) == texts_of(run.history)


@pytest.mark.parametrize(
    "records",
    [
        [Ok(1, 1, 2)],
        [Invoke(1, 1, 1, "m1", Put("k", "v")), Invoke(1, 1, 1, "m1", Put("k", "v"))],
        [Invoke(1, 1, 1, "m1", Delete("k")), Ok(1, 2, 2, 1, RangeResult())],
        [Invoke(1, 1, 1, "m1", Put("k", "v")), Ok(1, 2, 2**64, 1)],
        [Invoke(1, 1, 1, "m1", Txn((Compare("k", "mod", "=", "x"),))), Ok(1, 2, 2, 1, TxnResult())],
        [Invoke(1, 1, 1, "m1", Txn((Compare("k", "size", "=", 1),))), Ok(1, 2, 2, 1, TxnResult())],
        [Invoke(1, 1, 1, "m1", Txn((), (Put("k", "v"),))), Ok(1, 2, 2, 1, TxnResult(succeeded=True))],
    ],
)
def test_contradicting_records_are_refused(records: list[Invoke | Ok]) -> None:
    with pytest.raises(HistoryMismatchError):
        History(records)


def test_a_conclusion_is_made_once_and_forgotten_when_there_is_more() -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    history, end, other, made = story.history, EndState(1, {}), EndState(1, {}), []

    def make() -> Ok:
        made.append(1)
        return Ok(1, 1, len(made))

    assert [history.keep(Ok, of, make).rev for of in (end, end, other, end)] == [1, 1, 2, 3]
    of = history.keep(Ok, end, make)
    assert history.keep(Invoke, of, lambda: Invoke(1, 1, 1, "m", Delete("k"))).id == 1
    assert history.keep(Ok, end, make) is of
    history.extend([])
    assert history.keep(Ok, end, make) is not of
