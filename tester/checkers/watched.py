"""What the ``watch`` checker compares: changes as numbers, and what clients were told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.history import watchlog
from tester.history.columns import EventCol, Kind, LeafCol, OpCol
from tester.history.records import Compact

if TYPE_CHECKING:
    from tester.history.history import History, WatchSession
    from tester.history.table import Columns, Mask


@dataclass(frozen=True, slots=True)
class Session:
    """One stream: its changes, and for each response its header revision and whether it is a bookmark."""

    session: WatchSession
    events: Columns
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
            events[:, rows.events],
            responses[:, rows.responses],
            rows.bookmark,
            rows.span(events, responses),
        )
        for rows in watchlog.rows_of_sessions(history)
    ]


_KEY_BITS = 25


def pairs(events: Columns) -> Columns:
    """Revision and key as one number, in the order of revisions: what is nearly sorted is sorted and found fast."""
    if int(events[EventCol.REV].max(initial=0)) >= 1 << (63 - _KEY_BITS):
        raise OverflowError(f"revisions of 2**{63 - _KEY_BITS} and more")
    if int(events[EventCol.KEY].max(initial=0)) >= 1 << _KEY_BITS:
        raise OverflowError(f"2**{_KEY_BITS} keys and more")
    pairs: Columns = (events[EventCol.REV] << _KEY_BITS) | events[EventCol.KEY]
    return pairs


def repeated(events: Columns) -> Mask:
    """Changes that an earlier row of the same session has told: same key, revision and content."""
    repeated = np.zeros(events.shape[1], dtype=bool)
    told = pairs(events)
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


def acknowledged_puts(history: History) -> Columns:
    """Puts that were answered, as changes."""
    leaves, ops = history.operations.leaves.columns, history.operations.rows.columns
    puts = leaves[:, leaves[LeafCol.KIND] == Kind.PUT]
    events = np.zeros((len(EventCol), puts.shape[1]), dtype=np.int64)
    events[EventCol.REV] = ops[OpCol.REV, puts[LeafCol.OP]]
    events[EventCol.KEY], events[EventCol.VALUE] = puts[LeafCol.KEY], puts[LeafCol.VALUE]
    events[EventCol.LEASE] = puts[LeafCol.LEASE]
    return events
