"""What the ``watch`` checker compares: changes as numbers, and what clients were told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.history import watchlog
from tester.history.columns import NONE, EventCol, Kind, LeafCol, OpCol
from tester.history.keyranges import in_range
from tester.history.records import Compact

if TYPE_CHECKING:
    from tester.history.history import History, WatchSession
    from tester.history.records import WatchStart
    from tester.history.table import Columns, Mask


@dataclass(frozen=True, slots=True)
class Session:
    """One stream: its changes, and for each response its header revision and whether it is a bookmark."""

    session: WatchSession
    events: Columns
    pairs: Columns
    """Of its changes."""
    responses: Columns
    bookmark: Mask
    span: tuple[int, int] | None
    """Revisions of which it should have all changes."""


def sessions_of(history: History) -> list[Session]:
    """Every session with what it was told."""
    events, responses = history.events.columns, history.responses.columns
    return [
        Session(
            rows.session,
            told := events[:, rows.events],
            pairs(told),
            responses[:, rows.responses],
            rows.bookmark,
            rows.span(events, responses),
        )
        for rows in watchlog.rows_of_sessions(history)
    ]


_KEY_BITS = 25


class TooLargeError(Exception):
    """Revisions or keys do not fit into ``pairs``."""


def pairs(events: Columns) -> Columns:
    """Revision and key as one number, in the order of revisions: what is nearly sorted is sorted and found fast.

    Raises:
        TooLargeError: they do not fit into one.
    """
    if int(events[EventCol.REV].max(initial=0)) >= 1 << (63 - _KEY_BITS):
        raise TooLargeError(f"revisions of 2**{63 - _KEY_BITS} and more are not compared")
    if int(events[EventCol.KEY].max(initial=0)) >= 1 << _KEY_BITS:
        raise TooLargeError(f"2**{_KEY_BITS} keys and more are not compared")
    pairs: Columns = (events[EventCol.REV] << _KEY_BITS) | events[EventCol.KEY]
    return pairs


def repeated(session: Session) -> Mask:
    """Changes that an earlier row of the same session has told: same key, revision and content."""
    events, told = session.events, session.pairs
    repeated = np.zeros(told.size, dtype=bool)
    order = np.argsort(told, kind="stable")
    again = told[order[1:]] == told[order[:-1]]
    if again.any():  # which is wrong, and rare: only those are compared by content
        shared = np.sort(order[np.append(again, False) | np.append(False, again)])
        order = shared[np.lexsort((events[EventCol.VALUE, shared], told[shared]))]
        value = events[EventCol.VALUE]
        same = (told[order[1:]] == told[order[:-1]]) & (value[order[1:]] == value[order[:-1]])
        repeated[order[1:][same]] = True
    return repeated


def compactions(history: History) -> list[tuple[int, int]] | None:
    """Revision and time of each compaction that may have been done; ``None``: others may compact, too."""
    if history.header is None or history.header.compacts_itself:
        return None
    leaves, ops = history.operations.leaves.columns, history.operations.rows.columns
    rows = leaves[:, leaves[LeafCol.KIND] == Kind.COMPACT]
    known = zip(rows[LeafCol.AT].tolist(), ops[OpCol.CALL, rows[LeafCol.OP]].tolist(), strict=True)
    maybe = (*history.unknown_compactions, *history.unfinished())
    ours = [(record.rev, record.at) for record in history.compactions]
    return [*ours, *known, *((invoke.op.r, invoke.at) for invoke in maybe if isinstance(invoke.op, Compact))]


@dataclass(frozen=True, slots=True)
class Written:
    """Puts, and deletions of a key that was there, that were answered: as changes, in the order of ``pairs``."""

    events: Columns
    pairs: Columns
    operation: Columns
    """Id of the operation of each."""
    answered: Columns
    """When it was."""
    slot: Columns
    """How many changes its operation made before it."""

    def find(self, wanted: Columns) -> tuple[Columns, Mask]:
        """For each of some ``pairs`` its place here, and whether it is here at all."""
        return places(self.pairs, wanted)


def places(known: Columns, wanted: Columns) -> tuple[Columns, Mask]:
    """For each number its place among others, which ascend, and whether it is there."""
    if not known.size:
        return np.zeros(wanted.shape, dtype=np.int64), np.zeros(wanted.shape, dtype=bool)
    place = np.minimum(np.searchsorted(known, wanted), known.size - 1)
    there: Mask = known[place] == wanted
    return place, there


def written_by_clients(history: History) -> Written:
    """What clients were told that they did. Which keys a deletion of a range has taken, they are not told."""
    leaves, ops = history.operations.leaves.columns, history.operations.rows.columns
    kind = leaves[LeafCol.KIND]
    one_deleted = (kind == Kind.DELETE) & (leaves[LeafCol.END] == NONE) & (leaves[LeafCol.COUNT] > 0)
    rows = np.flatnonzero((kind == Kind.PUT) | one_deleted)
    owner = leaves[LeafCol.OP, rows]
    events = np.zeros((len(EventCol), rows.size), dtype=np.int64)
    events[EventCol.REV] = ops[OpCol.REV, owner]
    for told, field in (
        (EventCol.KEY, LeafCol.KEY),
        (EventCol.VALUE, LeafCol.VALUE),  # ``NONE`` of a deletion
        (EventCol.LEASE, LeafCol.LEASE),
    ):
        events[told] = leaves[field, rows]
    order = np.argsort(pairs(events), kind="stable")
    events, rows, owner = events[:, order], rows[order], owner[order]
    return Written(
        events, pairs(events), ops[OpCol.ID, owner], ops[OpCol.RET, owner], leaves[LeafCol.SLOT, rows]
    )


class Ranges:
    """Which keys and changes a watcher asks for; most ask for the same."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._found: dict[tuple[str, str], Mask] = {}

    def keys(self, key: str, end: str) -> Mask:
        """Of each key, whether it is in a range."""
        if (key, end) not in self._found:
            self._found[key, end] = np.array([in_range(text, key, end) for text in self._texts], dtype=bool)
        return self._found[key, end]

    def admits(self, start: WatchStart, events: Columns) -> Mask:
        """Of each change, whether a watcher asks for it."""
        admitted: Mask = self.keys(start.k, start.e)[events[EventCol.KEY]]
        if "put" in start.filters:
            admitted &= events[EventCol.VALUE] == NONE
        if "delete" in start.filters:
            admitted &= events[EventCol.VALUE] != NONE
        return admitted
