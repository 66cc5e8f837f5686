"""A history that was read in pieces is the one that was read from beginning to end."""

from __future__ import annotations

from itertools import takewhile
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import CHECKERS, run_checkers
from tester.history import loading, together
from tester.history.columns import (
    NONE,
    CompareCol,
    EventCol,
    KvCol,
    LeafCol,
    NodeCol,
    OpCol,
)
from tester.history.loading import load_history
from tester.history.mismatch import HistoryMismatchError
from tester.history.pieces import Assembled
from tester.history.reader import HistoryFormatError
from tester.history.records import (
    FORMAT_VERSION,
    Fail,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    Ok,
    Put,
    Watched,
    WatchEnd,
    WatchStart,
)
from tests.unit.checkers.lies import bend_anything
from tests.unit.checkers.tables import texts_of
from tests.unit.checkers.world import Mix, simulate
from tests.unit.history.test_parquet import ODD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tester.history.history import History

MIX = Mix(operations=80, unknown=0.2, serializable=0.2, leases=0.2, breaks=0.1, txns=0.3)


def written(path: Path, records: Sequence[HistoryRecord]) -> Path:
    path.write_bytes(msgspec.json.Encoder().encode_lines(records))
    return path


def assembled(path: Path, piece_bytes: int) -> History:
    history = Assembled()
    for start, end in together.cuts(path, piece_bytes):
        history.append(together.read_piece(path, start, end))
    return history


def contents(history: History) -> dict[str, object]:
    """Everything that a history holds, by operation: without the numbers that depend on the order of reading."""
    tables = {name: list(zip(*columns, strict=True)) for name, columns in texts_of(history).items()}

    def without(row: tuple[object, ...], *columns: int) -> list[object]:
        return [value for column, value in enumerate(row) if column not in columns]

    def answers(first: int, leaf: int) -> list[object]:
        mine = takewhile(lambda row: row[KvCol.LEAF] == leaf, tables["answers"][first:])
        return [without(row, KvCol.LEAF) for row in mine]

    operations = {}
    leaves, rows = tables["leaves"], tables["operations"]
    firsts = [row[OpCol.LEAF] for row in rows] + [len(leaves)]
    for place, row in enumerate(rows):
        mine = range(firsts[place], firsts[place + 1])
        assert all(leaves[leaf][LeafCol.OP] == place for leaf in mine)
        operations[row[OpCol.ID]] = (
            without(row, OpCol.LEAF),
            [
                (
                    without(leaves[leaf], LeafCol.OP, LeafCol.KV),
                    answers(leaves[leaf][LeafCol.KV], leaf),
                )
                for leaf in mine
            ],
            [
                (
                    node[NodeCol.SUCCEEDED],
                    [
                        without(condition, CompareCol.NODE)
                        for condition in tables["conditions"]
                        if condition[CompareCol.NODE] == number
                    ],
                )
                for number, node in enumerate(tables["transactions"])
                if node[NodeCol.OP] == place
            ],
        )
    events = [
        (
            without(row, EventCol.PREV),
            None if row[EventCol.PREV] == NONE else tables["previous"][row[EventCol.PREV]],
        )
        for row in tables["events"]
    ]
    members = history.members.texts
    waiting = [[members[row[2]], *without(row, 2)] for row in history.unanswered.columns.T.tolist()]
    refused = [[members[row[2]], *without(row, 2)] for row in history.revision_refusals.columns.T.tolist()]
    return {
        "operations": operations,
        "events": events,
        "responses": tables["responses"],
        "sessions": [(session.start, session.end) for session in history.sessions],
        "header": history.header,
        "unknown": sorted(history.unknown_writes(), key=lambda invoke: invoke.id),
        "unfinished": sorted(history.unfinished(), key=lambda invoke: invoke.id),
        "failed": history.failed_writes,
        "waiting": sorted(waiting),
        "refused": sorted(refused),
        "lease refusals": sorted(history.lease_refusals, key=lambda pair: pair[0].id),
        "unknown renewals": sorted(history.unknown_renewals, key=lambda pair: pair[0].id),
        "unknown compactions": sorted(history.unknown_compactions, key=lambda invoke: invoke.id),
        "frame": [
            *(history.phases, history.faults, history.leaders, history.member_events, history.claims),
            *(history.compactions, history.epochs, history.restored, history.client_deaths, history.clocks),
        ],
    }


@pytest.mark.parametrize("seed", range(12))
def test_in_pieces_and_from_beginning_to_end_is_the_same(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    run = simulate(rng, MIX)
    if seed % 2:
        run = bend_anything(run, rng)
    path = written(tmp_path / "history.jsonl", [*run.records, *ODD])
    whole = load_history(path)
    expected = contents(whole)
    assert expected["operations"]
    assert expected["events"]
    verdicts = [(r.checker, r.verdict, r.message) for r in run_checkers(CHECKERS, whole, run.end)]
    for piece_bytes in (1, 500, 5000):
        history = assembled(path, piece_bytes)
        assert contents(history) == expected
        found = [(r.checker, r.verdict, r.message) for r in run_checkers(CHECKERS, history, run.end)]
        assert found == verdicts


def test_processes_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "history.jsonl", simulate(Random(1), MIX).records)
    expected = contents(load_history(path))
    monkeypatch.setattr(together, "PIECE_BYTES", 3000)
    monkeypatch.setattr(loading, "readers_for", lambda _: 2)
    with path.open("ab") as file:
        file.write(b'{"t":"invoke","id":7')  # torn
    history = load_history(path)
    assert isinstance(history, Assembled)
    assert contents(history) == expected


def test_where_no_process_starts_one_reads_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "history.jsonl", simulate(Random(1), MIX).records)
    monkeypatch.setattr(together, "PIECE_BYTES", 3000)
    monkeypatch.setattr(loading, "readers_for", lambda _: 2)
    monkeypatch.setattr(together.sys, "executable", str(tmp_path / "nowhere"))
    history = load_history(path)
    assert not isinstance(history, Assembled)
    assert contents(history)["operations"]


def test_one_reads_what_is_short(tmp_path: Path) -> None:
    path = written(tmp_path / "history.jsonl", simulate(Random(1), MIX).records)
    assert together.readers_for(path) == 1
    assert not isinstance(load_history(path), Assembled)


ASKED, DONE = Invoke(1, 1, 1, "m1", Put("k", "1:4")), Ok(1, 2, 2)
LOST, REFUSED = Info(1, 3, "UNAVAILABLE"), Fail(1, 3, "UNAVAILABLE")
HEADER = Header(FORMAT_VERSION, "run", 1, "s", 7, 0, "k", ("m1",))
STARTED, ENDED = WatchStart(1, 0, "m1", "k", 1), WatchEnd(1, 9, "closed")


@pytest.mark.parametrize(
    "records",
    [
        [ASKED, DONE, DONE],
        [DONE],
        [ASKED, ASKED],
        [ASKED, ASKED, DONE],
        [ASKED, Fail(1, 3, "CANCELLED"), Info(1, 4, "CANCELLED")],
        [Watched(1, 1, 2)],
        [STARTED, Watched(1, 1, 2), ENDED, Watched(1, 10, 3)],
        [STARTED, ENDED, ENDED],
        [STARTED, Watched(1, 1, 2), STARTED, ENDED, Watched(1, 10, 3)],
        [HEADER, HEADER],
        [HEADER, ASKED, DONE, HEADER, ASKED, DONE],
        [ASKED, DONE, HEADER],
        [HEADER, STARTED, ASKED, HEADER],
        [ASKED, LOST, ASKED, LOST],
        [ASKED, REFUSED, ASKED, REFUSED],
    ],
)
def test_a_contradiction_is_one_wherever_it_is_cut(tmp_path: Path, records: list[HistoryRecord]) -> None:
    path = written(tmp_path / "history.jsonl", records)
    with pytest.raises(HistoryMismatchError) as whole:
        load_history(path)
    for piece_bytes in (1, 100, 10_000):
        with pytest.raises(HistoryMismatchError) as cut:
            assembled(path, piece_bytes)
        assert str(cut.value) == str(whole.value)


@pytest.mark.parametrize(
    "records", [[STARTED, STARTED, ENDED, STARTED], [HEADER, ASKED, DONE, STARTED], [ASKED, DONE]]
)
def test_what_may_come_may_do_so_wherever_it_is_cut(tmp_path: Path, records: list[HistoryRecord]) -> None:
    path = written(tmp_path / "history.jsonl", records)
    for piece_bytes in (1, 100, 10_000):
        assert contents(assembled(path, piece_bytes)) == contents(load_history(path))


def test_a_mistake_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "history.jsonl", [ASKED, DONE] * 200)
    with path.open("ab") as file:
        file.write(b"{}\n")
    monkeypatch.setattr(together, "PIECE_BYTES", 1000)
    monkeypatch.setattr(loading, "readers_for", lambda _: 2)
    with pytest.raises(HistoryFormatError, match=":401: "):
        load_history(path)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    "records", [[ASKED, DONE, ASKED, DONE], [ASKED, DONE, ASKED], [HEADER, ASKED, DONE, HEADER]]
)
def test_what_may_not_come_again_is_told_whoever_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[HistoryRecord], processes: int
) -> None:
    path = written(tmp_path / "history.jsonl", records)
    monkeypatch.setattr(together, "PIECE_BYTES", 100)
    monkeypatch.setattr(loading, "readers_for", lambda _: processes)
    with pytest.raises(HistoryMismatchError, match=r"operation 1 is another's id, too|line 4 is a header"):
        load_history(path)
