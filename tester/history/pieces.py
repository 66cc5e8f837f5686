"""A long history as pieces of its file, each joined by itself, and put together in order.

::

    piece 1   invoke a ── ok a     invoke b
    piece 2                                  ok b     invoke c ── ok c

What begins and succeeds within a piece is columns when the piece arrives. What does not (here ``b``), and what is no
operation, comes as records, which are few. Rows of operations that span pieces stand before those of the piece in
which they end; else the order is that of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tester.history.columns import (
    NONE,
    ROWS,
    TARGETS,
    CompareCol,
    EventCol,
    KvCol,
    LeafCol,
    OpCol,
    ResponseCol,
)
from tester.history.history import History, WatchSession
from tester.history.mismatch import HistoryMismatchError, misplaced_header
from tester.history.records import WatchEnd, WatchStart

if TYPE_CHECKING:
    from tester.history.records import Fail, Header, HistoryRecord, Info, Invoke, Ok
    from tester.history.table import Columns, Interner

_KEY_VALUE: Final[dict[int, str]] = {KvCol.KEY: "keys", KvCol.VALUE: "values"}

_NUMBERS: Final[dict[str, dict[int, str]]] = {
    "operations": {OpCol.MEMBER: "members"},
    "leaves": {LeafCol.KEY: "keys", LeafCol.END: "keys", LeafCol.VALUE: "values"},
    "answers": _KEY_VALUE,
    "conditions": {CompareCol.KEY: "keys", CompareCol.END: "keys"},
    "responses": {ResponseCol.SESSION: "sessions"},
    "events": {EventCol.SESSION: "sessions", EventCol.KEY: "keys", EventCol.VALUE: "values"},
    "previous": _KEY_VALUE,
}
"""By table, the columns whose numbers stand for something else."""


class Piece(History):
    """A stretch of a history, of which what came before is not known."""

    def __init__(self) -> None:
        self.rest: list[HistoryRecord] = []
        """What is no columns, in the order of the file but for what has not ended, which comes last."""
        self.begun_before: dict[int, int] = {}
        """By watcher, its session that others have seen begin."""
        self.headers: list[int] = []
        """Their lines, counted from where the piece begins: whether that is where the file begins others know."""
        super().__init__()

    def close(self) -> None:
        """There is no more."""
        self.rest += self.unfinished()
        self._open.clear()

    @property
    def running(self) -> dict[int, int]:
        """By watcher, its session at the end."""
        return self._current

    def _frame(self, record: HistoryRecord) -> None:
        if isinstance(record, WatchStart | WatchEnd):
            super()._frame(record)
        else:
            self.rest.append(record)

    def _begin(self, header: Header, line: int) -> None:
        self.headers.append(line)
        self.rest.append(header)

    def _without_answer(self, invoke: Invoke, record: Info | Fail) -> None:
        self.rest += (invoke, record)

    def _not_asked(self, record: Ok | Info | Fail) -> None:
        self.rest.append(record)

    def _not_started(self, watcher: int) -> int:
        if watcher in self.begun_before:
            return super()._not_started(watcher)
        session = len(self.sessions)
        self.begun_before[watcher] = self._current[watcher] = session
        self.sessions.append(WatchSession(WatchStart(watcher, 0, "", "", 0)))
        return session


class Assembled(History):
    """A history of pieces."""

    def append(self, piece: Piece) -> None:
        """Take the piece that comes next.

        Raises:
            HistoryMismatchError: it contradicts what came before.
        """
        for line in piece.headers:
            if self.taken + line > 1:
                raise misplaced_header(self.taken + line)
        before, taken = dict(self._open), self.taken
        self.extend(piece.rest)
        self.taken = taken + piece.taken
        self._refuse_twice(before, piece)
        numbers = {
            "keys": _numbers(self.keys, piece.keys),
            "values": _numbers(self.values, piece.values),
            "members": _numbers(self.members, piece.members),
            "sessions": self._sessions(piece),
        }
        rows = {name: len(table) for name, table in self.tables.items()}
        for name, table in self.tables.items():
            columns = piece.tables[name].columns
            block = table.grow(columns.shape[1])
            block[:] = columns
            for field, other in ROWS[name].items():
                block[field, columns[field] != NONE] += rows[other]
            for field, kind in _NUMBERS.get(name, {}).items():
                block[field] = numbers[kind][columns[field]]
            if name == "conditions":
                values = np.flatnonzero(columns[CompareCol.TARGET] == TARGETS.index("value"))
                block[CompareCol.X, values] = numbers["values"][columns[CompareCol.X, values]]

    def _refuse_twice(self, before: dict[int, Invoke], piece: Piece) -> None:
        """What was in flight all the time is not invoked again; what the piece left so was looked at."""
        still = [number for number, invoke in before.items() if self._open.get(number) is invoke]
        again = np.intersect1d(still, piece.operations.rows.columns[OpCol.ID])
        if again.size:
            raise HistoryMismatchError(f"operation {again[0]} is invoked twice")

    def _sessions(self, piece: Piece) -> Columns:
        """The numbers that the piece's sessions have here, and ``NONE``."""
        begun = {session: self._find_session(watcher) for watcher, session in piece.begun_before.items()}
        numbers = []
        for place, session in enumerate(piece.sessions):
            number = begun.get(place, len(self.sessions))
            if place not in begun:
                self.sessions.append(session)
            elif session.end:
                self.sessions[number].end = session.end
            numbers.append(number)
        for session in piece.sessions:
            self._current.pop(session.start.w, None)
        self._current.update({watcher: numbers[session] for watcher, session in piece.running.items()})
        return np.array([*numbers, NONE], dtype=np.int64)

    def _find_session(self, watcher: int) -> int:
        session = self._current.get(watcher)
        return self._not_started(watcher) if session is None else session


def _numbers(ours: Interner, theirs: Interner) -> Columns:
    """The numbers that their texts have here; at -1, which is the last, ``NONE``."""
    return np.array([*map(ours.numbers.__getitem__, theirs.texts), NONE], dtype=np.int64)
