"""The lines of a history that is kept as Parquet, in their order."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tester.history.columns import NONE, EventCol, Flag, Kind, KvCol, LeafCol, OpCol, ResponseCol
from tester.history.parquet import load_parquet
from tester.history.records import (
    Delete,
    DeleteResult,
    Event,
    HistoryRecord,
    Invoke,
    KeyValue,
    Ok,
    Put,
    Range,
    RangeResult,
    Watched,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tester.history.parquet import Stored
    from tester.history.table import Columns

_WINDOW = 50_000
"""Lines that are made at a time."""

Placed: TypeAlias = tuple[int, HistoryRecord]


def parquet_records(path: Path) -> Iterator[HistoryRecord]:
    """The records that ``write_parquet`` was given.

    Raises:
        ParquetError: there is no history, of another version, or it is damaged.
        UsageError: pyarrow is not installed.
    """
    stored = load_parquet(path, every_column=True)
    lines = _Lines(stored)
    told = iter(stored.lines)
    held = next(told, None)
    for first in range(1, lines.last + 1, _WINDOW):
        found = lines.between(first, first + _WINDOW)
        while held is not None and held[0] < first + _WINDOW:
            found.append(held)
            held = next(told, None)
        found.sort(key=itemgetter(0))
        for _, record in found:
            yield record


class _Lines:
    """Makes records of columns."""

    def __init__(self, stored: Stored) -> None:
        history = stored.history
        self._keys, self._values, self._members = (
            interner.texts for interner in (history.keys, history.values, history.members)
        )
        operations = history.operations
        self._ops, self._leaves = operations.rows.columns, operations.leaves.columns
        self._answers = _Slices(operations.answers.columns, operations.leaves.columns[LeafCol.KV])
        responses = history.responses.columns
        self._responses = responses
        self._watchers = [session.start.w for session in history.sessions]
        self._events = _Slices(history.events.columns, responses[ResponseCol.EVENT])
        self._previous = history.previous.columns
        self._term, self._asked, self._answered = stored.extra["operations"]
        (self._watched,) = stored.extra["responses"]
        told = np.array([line for line, _ in stored.lines], dtype=np.int64)
        # What stands among the lines is not made of columns again.
        self._plain = np.flatnonzero(~np.isin(self._answered, told))
        columns = (self._asked, self._answered, self._watched, told)
        self.last = max(int(column.max(initial=0)) for column in columns)

    def between(self, first: int, after: int) -> list[Placed]:
        """Records of the lines from ``first`` to before ``after``."""
        asked, answered = self._asked[self._plain], self._answered[self._plain]
        questions = self._plain[(asked >= first) & (asked < after)]
        answers = self._plain[(answered >= first) & (answered < after)]
        responses = np.flatnonzero((self._watched >= first) & (self._watched < after))
        return [*self._questions(questions), *self._oks(answers), *self._watches(responses)]

    def _questions(self, rows: Columns) -> Iterator[Placed]:
        ops, leaves = self._rows_of(rows)
        for line, op, leaf in zip(self._asked[rows].tolist(), ops, leaves, strict=True):
            member = self._members[op[OpCol.MEMBER]]
            request = self._request(op, leaf)
            yield line, Invoke(id=op[OpCol.ID], at=op[OpCol.CALL], c=op[OpCol.CLIENT], m=member, op=request)

    def _oks(self, rows: Columns) -> Iterator[Placed]:
        ops, leaves = self._rows_of(rows)
        lines, terms = self._answered[rows].tolist(), self._term[rows].tolist()
        answers = self._answers.of(self._ops[OpCol.LEAF, rows])
        for line, term, op, leaf, kvs in zip(lines, terms, ops, leaves, answers, strict=True):
            out: RangeResult | DeleteResult | None = None
            if leaf[LeafCol.KIND] == Kind.RANGE:
                more = bool(leaf[LeafCol.FLAGS] & Flag.MORE)
                out = RangeResult(tuple(map(self._key_value, kvs)), leaf[LeafCol.COUNT], more)
            elif leaf[LeafCol.KIND] == Kind.DELETE:
                out = DeleteResult(leaf[LeafCol.COUNT])
            yield line, Ok(id=op[OpCol.ID], at=op[OpCol.RET], rev=op[OpCol.REV], term=term, out=out)

    def _rows_of(self, rows: Columns) -> tuple[list[list[int]], list[list[int]]]:
        return self._ops[:, rows].T.tolist(), self._leaves[:, self._ops[OpCol.LEAF, rows]].T.tolist()

    def _request(self, op: list[int], leaf: list[int]) -> Put | Range | Delete:
        key, end, flags = self._keys[leaf[LeafCol.KEY]], leaf[LeafCol.END], leaf[LeafCol.FLAGS]
        until = "" if end == NONE else self._keys[end]
        if leaf[LeafCol.KIND] == Kind.PUT:
            return Put(k=key, v=self._values[leaf[LeafCol.VALUE]], l=leaf[LeafCol.LEASE])
        if leaf[LeafCol.KIND] == Kind.DELETE:
            return Delete(k=key, e=until)
        return Range(
            k=key,
            e=until,
            r=leaf[LeafCol.AT],
            s=bool(op[OpCol.LOCAL]),
            n=leaf[LeafCol.LIMIT],
            keys_only=bool(flags & Flag.KEYS_ONLY),
            count_only=bool(flags & Flag.COUNT_ONLY),
        )

    def _watches(self, rows: Columns) -> Iterator[Placed]:
        responses, events = self._responses[:, rows].T.tolist(), self._events.of(rows)
        for line, response, told in zip(self._watched[rows].tolist(), responses, events, strict=True):
            watcher = self._watchers[response[ResponseCol.SESSION]]
            at, rev = response[ResponseCol.AT], response[ResponseCol.REV]
            yield line, Watched(w=watcher, at=at, rev=rev, ev=tuple(map(self._event, told)))

    def _event(self, event: list[int]) -> Event:
        value, previous = event[EventCol.VALUE], event[EventCol.PREV]
        return Event(
            k=self._keys[event[EventCol.KEY]],
            m=event[EventCol.REV],
            v="" if value == NONE else self._values[value],
            c=event[EventCol.CREATE],
            ver=event[EventCol.VERSION],
            l=event[EventCol.LEASE],
            d=value == NONE,
            p=None if previous == NONE else self._key_value(self._previous[:, previous].tolist()),
        )

    def _key_value(self, kv: list[int]) -> KeyValue:
        key, value = self._keys[kv[KvCol.KEY]], self._values[kv[KvCol.VALUE]]
        return KeyValue(key, value, kv[KvCol.CREATE], kv[KvCol.MOD], kv[KvCol.VERSION], kv[KvCol.LEASE])


class _Slices:
    """Rows that belong to rows of another table, which names the first of each."""

    def __init__(self, columns: Columns, firsts: Columns) -> None:
        self._columns = columns
        self._firsts = firsts
        self._ends = np.append(firsts[1:], columns.shape[1])

    def of(self, owners: Columns) -> Iterator[list[list[int]]]:
        """For each owner its rows."""
        for first, end in zip(self._firsts[owners].tolist(), self._ends[owners].tolist(), strict=True):
            yield self._columns[:, first:end].T.tolist() if end > first else []
