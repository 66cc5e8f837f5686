"""What no tester of an etcd can have written is refused; what one may have written is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

import msgspec
import pytest

from tester.checkers import run_checkers
from tester.events import MembershipChange, Phase
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.loading import load_history, records_of
from tester.history.mismatch import HistoryMismatchError
from tester.history.reader import HistoryFormatError
from tester.history.records import (
    ClaimRecord,
    ClockRecord,
    Event,
    Fail,
    FaultRecord,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    LeaseKeepAlive,
    MemberRecord,
    Ok,
    PhaseRecord,
    Put,
    Range,
    RangeResult,
    Watched,
    WatchStart,
)
from tester.history.soundness import refuse_impossible
from tester.load.contenders import ContestKind
from tester.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = Header(2, "run", 1, "s", 7, 0, "k", ("m1",))
PUT = Invoke(1, 10, 1, "m1", Put("k", "1:4"))
DONE = Ok(1, 20, 2)
READ = Invoke(2, 30, 1, "m1", Range("k"))
RENEWAL = Invoke(2, 30, 1, "m1", LeaseKeepAlive(7))
WATCH = WatchStart(1, 0, "m1", "k", 1)
NO_LEASE = "etcdserver: requested lease not found"
FUTURE = "etcdserver: mvcc: required revision is a future revision"
LATE = 2**62


def found(key: KeyValue) -> Ok:
    return Ok(2, 40, 2, 0, RangeResult((key,), 1))


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([PUT, Ok(1, 9, 2)], "operation 1 ended before"),
        ([RENEWAL, Fail(2, 29, "NOT_FOUND", NO_LEASE)], "operation 2 ended before"),
        ([RENEWAL, Info(2, 29, "UNAVAILABLE")], "operation 2 ended before"),
        ([Invoke(2, 30, 1, "m1", Range("k", r=9)), Fail(2, 29, "OUT_OF_RANGE", FUTURE)], "operation 2 ended"),
        ([PUT, Ok(1, LATE, 2)], "operation 1 has a time"),
        ([PUT, Ok(1, 20, -2)], "operation 1 was answered with a revision"),
        ([PUT, Ok(1, 20, LATE)], "operation 1 was answered with a revision"),
        ([PUT, DONE, READ, Ok(2, 40, 0, 0, RangeResult())], "operation 2 was answered with revision 0"),
        ([PUT, DONE, READ, found(KeyValue("k", "1:4", 2, -2, 1))], "answered key has revision -2"),
        ([WATCH, Watched(1, 5, -1)], "watch response has revision -1"),
        ([WATCH, Watched(1, 5, 2, (Event("k", -2, "1:4", 2, 1),))], "watched change has revision -2"),
        (
            [WATCH, Watched(1, 5, 2, (Event("k", 2, "1:4", 2, 1, p=KeyValue("k", "0:4", -1, 1, 1)),))],
            "previous key has revision -1",
        ),
        ([PUT, DONE, Invoke(1, 30, 1, "m1", Range("k"))], "operation 1 is another's id"),
        (
            [PUT, DONE, Invoke(1, 30, 1, "m1", Put("k", "2:4")), Info(1, 40, "X")],
            "operation 1 is another's id",
        ),
        (
            [PUT, DONE, Invoke(1, 30, 1, "m1", Put("k", "2:4")), Fail(1, 40, "X")],
            "operation 1 is another's id",
        ),
        ([PUT, DONE, Invoke(1, 30, 1, "m1", Range("k")), Fail(1, 40, "X")], "operation 1 is another's id"),
    ],
)
def test_what_cannot_be_is_refused(records: Sequence[HistoryRecord], told: str) -> None:
    with pytest.raises(HistoryMismatchError, match=told):
        refuse_impossible(History([HEADER, *records]))


@pytest.mark.parametrize(
    "records",
    [
        [],
        [PUT],
        [PUT, Ok(1, 10, 2)],
        [PUT, DONE, RENEWAL, Fail(2, 30, "NOT_FOUND", NO_LEASE)],
        [PUT, DONE, RENEWAL, Info(2, 30, "UNAVAILABLE")],
        [PUT, Ok(1, 9, 2), ClockRecord(50, "load1", 0, 0, lost="it went back by 1 s")],
        [PUT, Ok(1, 20, 0), READ, Ok(2, 40, 0, 0, RangeResult((KeyValue("k", "1:4", 0, 0, 0),), 1))],
        [PUT, DONE, READ, found(KeyValue("k", "1:4", 2, 2, 1))],
        [WATCH, Watched(1, 5, 2, (Event("k", 2, "1:4", 2, 1), Event("k", 3, d=True)))],
    ],
)
def test_what_can_be_is_not(records: Sequence[HistoryRecord]) -> None:
    refuse_impossible(History([HEADER, *records]))


def test_a_history_is_looked_at_when_it_has_been_read(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    for end, refused in ((DONE, False), (Ok(1, 20, -2), True)):
        path.write_bytes(msgspec.json.Encoder().encode_lines([HEADER, PUT, end]))
        if refused:
            with pytest.raises(HistoryMismatchError):
                load_history(path)
        else:
            assert len(load_history(path).operations) == 1


@pytest.mark.parametrize(
    "line",
    [
        FaultRecord(1, "f", "kill", "m1", "bananas"),
        MemberRecord(1, "m1", "bananas"),
        PhaseRecord(1, 1, "bananas"),
        ClaimRecord(1, 1, "bananas", "q/", "held", "q/1", 2),
        ClaimRecord(1, 1, "lock", "q/", "bananas", "q/1", 2),
    ],
)
def test_a_word_that_the_format_does_not_know_is_told_with_its_line(
    tmp_path: Path, line: HistoryRecord
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(msgspec.json.Encoder().encode_lines([HEADER, line]))
    with pytest.raises(HistoryFormatError, match=r":2: .*bananas"):
        list(records_of(path))


def test_the_format_knows_all_that_the_tester_writes() -> None:
    def words(record: type[HistoryRecord], field: str) -> set[str]:
        return set(get_args(get_type_hints(record)[field]))

    assert words(PhaseRecord, "phase") == set(Phase)
    assert words(MemberRecord, "state") == {"started", "exited", *MembershipChange}
    assert words(ClaimRecord, "kind") == set(ContestKind)


def test_revisions_that_are_too_large_to_compare_are_not_judged() -> None:
    for revision, verdict, told in (
        (2**38, Verdict.UNKNOWN, r"2**38 and more are not compared"),
        (2**37, None, ""),
    ):
        records = [HEADER, PUT, Ok(1, 20, revision), WATCH]
        watched = Watched(1, 25, revision, (Event("k", revision, "1:4", revision, 1),))
        (result,) = run_checkers(["watch"], History([*records, watched]), EndState(2**61, {}))
        assert result.verdict is (verdict or Verdict.VALID), result
        assert told in result.message
        assert "crashed" not in result.message
