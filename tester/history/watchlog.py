"""What the independent watchers saw, merged: the evidence that nobody but etcd's own log can give.

A watch session proves the changes it delivered, and it proves the *absence* of others up to its last change
or bookmark, because etcd delivers in order. Only sessions over the whole key space of the load count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import EventCol, ResponseCol
from tester.history.keyranges import holds_prefix
from tester.history.table import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tester.history.history import History, WatchSession
    from tester.history.table import Columns, Mask


@dataclass(frozen=True, slots=True)
class WatchLog:
    """Every change that a watcher delivered, once, in order of revision and place within it."""

    events: Columns
    """``EventCol`` columns, sorted by revision; changes of one revision in the order of delivery."""
    spans: tuple[tuple[int, int], ...]
    """First and last revision of each stretch without a gap, ascending and apart."""

    def covers(self, revisions: Columns) -> NDArray[np.bool_]:
        """For each revision, whether the log holds all its changes."""
        if not self.spans:
            return np.zeros(revisions.shape, dtype=bool)
        first, last = np.array(self.spans, dtype=np.int64).T
        place = np.searchsorted(first, revisions, side="right") - 1
        covered: NDArray[np.bool_] = (place >= 0) & (revisions <= last[np.maximum(place, 0)])
        return covered

    def covers_span(self, first: int, last: int) -> bool:
        """Whether every revision from ``first`` to ``last`` is held; true of an empty stretch."""
        return first > last or any(low <= first and last <= high for low, high in self.spans)

    def seen_from(self, first: int) -> int:
        """The revision after the stretch that ``first`` is in; ``first`` itself where it is in none."""
        return next((high + 1 for low, high in self.spans if low <= first <= high), first)

    def describe(self) -> str:
        """The spans as a person reads them."""
        if not self.spans:
            return "no watch log"
        return "watch log of revisions " + ", ".join(f"{low} to {high}" for low, high in self.spans)


def sees_everything(session: WatchSession, prefix: str) -> bool:
    """Whether a session watches the whole key space of the load, unfiltered."""
    start = session.start
    return holds_prefix(prefix, start.k, start.e) and not start.filters


def merge_watch_log(history: History, until: Callable[[WatchSession], int] = lambda _: NEVER) -> WatchLog:
    """The watch log of a history. What a session was told beyond ``until`` makes no stretch longer."""
    events, responses = history.events.columns, history.responses.columns
    parts, spans = [], []
    for session in rows_of_sessions(history):
        if sees_everything(session.session, history.prefix):
            parts.append(_first_told(events, session.events))
            if span := session.span(events, responses):
                spans.append((span[0], min(span[1], until(session.session))))
    rows = _union(events[EventCol.REV], parts)
    as_it_came = rows.size == events.shape[1] and bool(np.all(rows[1:] > rows[:-1]))  # of one watcher, mostly
    merged = events if as_it_came else events[:, rows]
    return WatchLog(merged, _merge_spans([(first, last) for first, last in spans if first <= last]))


@dataclass(frozen=True, slots=True)
class SessionRows:
    """Where a session is in the tables of events and of responses; rows in the order of the file."""

    session: WatchSession
    events: Columns
    responses: Columns
    bookmark: Mask
    """Of each response, whether it told of no change."""

    def span(self, events: Columns, responses: Columns) -> tuple[int, int] | None:
        """Revisions of which it has told all changes, or that none were; ``None``: it has told nothing."""
        if not self.responses.size:
            return None
        revisions = events[EventCol.REV, self.events]
        bookmarks = responses[ResponseCol.REV, self.responses[self.bookmark]]
        first = self.session.start.rev
        if first == 0:
            # "From now" without saying when now was: sure of what follows the first sign of life.
            first = int(bookmarks[0]) + 1 if self.bookmark[0] else int(revisions[0])
        last = max(int(column.max()) for column in (revisions, bookmarks) if column.size)
        return (first, last) if first <= last else None


def rows_of_sessions(history: History) -> Iterator[SessionRows]:
    """Every session, in the order in which they started."""
    events, responses = history.events.columns, history.responses.columns
    is_bookmark = np.diff(responses[ResponseCol.EVENT], append=events.shape[1]) == 0
    told = _rows_by_session(events[EventCol.SESSION], len(history.sessions))
    answers = _rows_by_session(responses[ResponseCol.SESSION], len(history.sessions))
    for session, changes, mine in zip(history.sessions, told, answers, strict=True):
        yield SessionRows(session, changes, mine, is_bookmark[mine])


def _rows_by_session(sessions: Columns, number: int) -> list[Columns]:
    # numpy sorts what has 16 bits by counting, which takes a tenth of the time of comparing
    order = np.argsort(sessions.astype(np.uint16 if number < 1 << 16 else np.int64), kind="stable")
    ends = np.cumsum(np.bincount(sessions, minlength=number))
    return np.split(order, ends[:-1]) if number else []


def _first_told(events: Columns, rows: Columns) -> Columns:
    """Rows of one session by revision, repetitions left out (the ``watch`` checker reports them)."""
    revisions = events[EventCol.REV, rows]
    if np.any(revisions[1:] < revisions[:-1]):
        order = np.argsort(revisions, kind="stable")
        rows, revisions = rows[order], revisions[order]
    same = revisions[1:] == revisions[:-1]
    if not same.any():
        return rows
    shared = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    changes = [events[field, rows[shared]] for field in (EventCol.VALUE, EventCol.KEY, EventCol.REV)]
    order = np.lexsort(changes)
    again = np.logical_and.reduce([change[order[1:]] == change[order[:-1]] for change in changes])
    return np.delete(rows, shared[order[1:][again]])


def _union(revision: Columns, parts: list[Columns]) -> Columns:
    """For every revision the rows of the session that told most of it; of equals, of the one that told most in all."""
    if not parts:
        return np.empty(0, dtype=np.int64)
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=lambda part: -part.size)
    rows = np.concatenate(parts)
    known = np.sort(revision[rows], kind="stable")  # which merges what is sorted in parts
    known = known[np.append(True, known[1:] != known[:-1])] if rows.size else known
    most, begin = np.zeros((2, known.size), dtype=np.int64)
    before = 0
    for part in parts:
        told = revision[part]
        starts = np.flatnonzero(np.append(True, told[1:] != told[:-1])) if part.size else part
        counts = np.diff(starts, append=part.size)
        place = np.searchsorted(known, told[starts])
        better = counts > most[place]
        most[place[better]], begin[place[better]] = counts[better], before + starts[better]
        before += part.size
    chosen: Columns = rows[np.repeat(begin - np.cumsum(most) + most, most) + np.arange(most.sum())]
    return chosen


def _merge_spans(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)
