"""What the independent watchers saw, merged: the evidence that nobody but etcd's own log can give.

A watch session proves the changes it delivered, and it proves the *absence* of others up to its last change
or bookmark, because etcd delivers in order. Only sessions over the whole key space of the load count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import EventCol, ResponseCol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tester.history.history import History, WatchSession
    from tester.history.table import Columns


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

    def describe(self) -> str:
        """The spans as a person reads them."""
        if not self.spans:
            return "no watch log"
        return "watch log of revisions " + ", ".join(f"{low} to {high}" for low, high in self.spans)


def end_of_prefix(prefix: str) -> str:
    """The range end that holds exactly the keys with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\0"


def sees_everything(session: WatchSession, prefix: str) -> bool:
    """Whether a session watches the whole key space of the load, unfiltered."""
    start = session.start
    after_end = start.e == "\0" or (bool(prefix) and start.e >= end_of_prefix(prefix))
    return (start.k == "\0" or start.k <= prefix) and after_end and not start.filters


def merge_watch_log(history: History) -> WatchLog:
    """The watch log of a history."""
    events, responses = history.events.columns, history.responses.columns
    wanted = [n for n, session in enumerate(history.sessions) if sees_everything(session, history.prefix)]
    spans = [span for n in wanted if (span := span_of(history, events, responses, n))]
    parts = [_session_events(events, n) for n in wanted]
    return WatchLog(_union(parts), _merge_spans(spans))


def span_of(history: History, events: Columns, responses: Columns, session: int) -> tuple[int, int] | None:
    """Revisions of which a session has told all changes, or that none were; ``None``: it has told nothing."""
    mine = np.flatnonzero(responses[ResponseCol.SESSION] == session)
    if not mine.size:
        return None
    event_counts = np.diff(responses[ResponseCol.EVENT], append=events.shape[1])[mine]
    revisions = events[EventCol.REV, events[EventCol.SESSION] == session]
    bookmarks = responses[ResponseCol.REV, mine[event_counts == 0]]
    first = history.sessions[session].start.rev
    if first == 0:
        # "From now" without saying when now was: sure of what follows the first sign of life.
        first = int(revisions[0]) if event_counts[0] else int(bookmarks[0]) + 1
    last = max(int(column.max()) for column in (revisions, bookmarks) if column.size)
    return (first, last) if first <= last else None


def _session_events(events: Columns, session: int) -> Columns:
    """Changes of one session by revision, repetitions left out (the ``watch`` checker reports them)."""
    mine = events[EventCol.SESSION] == session
    own = events if mine.all() else events[:, mine]
    revisions = own[EventCol.REV]
    if np.any(revisions[1:] < revisions[:-1]):
        own = own[:, np.argsort(revisions, kind="stable")]
        revisions = own[EventCol.REV]
    same = revisions[1:] == revisions[:-1]
    if not same.any():
        return own
    shared = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    _, firsts = np.unique(
        own[[EventCol.REV, EventCol.KEY, EventCol.VALUE]][:, shared], axis=1, return_index=True
    )
    repeated = np.delete(shared, firsts)
    return np.delete(own, repeated, axis=1)


def _union(parts: list[Columns]) -> Columns:
    """For every revision the changes of the session that saw most of them, the first of equals."""
    merged = np.empty((len(EventCol), 0), dtype=np.int64)
    for part in sorted(parts, key=lambda part: -part.shape[1]):
        if merged.shape[1] == 0:
            merged = part
            continue
        have, have_counts = np.unique(merged[EventCol.REV], return_counts=True)
        revisions, counts = np.unique(part[EventCol.REV], return_counts=True)
        place = np.minimum(np.searchsorted(have, revisions), have.size - 1)
        better = (have[place] != revisions) | (have_counts[place] < counts)
        if not better.any():
            continue
        taken = revisions[better]
        merged = np.concatenate(
            [merged[:, ~np.isin(merged[EventCol.REV], taken)], part[:, np.isin(part[EventCol.REV], taken)]],
            axis=1,
        )
        merged = merged[:, np.argsort(merged[EventCol.REV], kind="stable")]
    return merged


def _merge_spans(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)
