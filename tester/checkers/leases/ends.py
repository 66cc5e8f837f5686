"""Ends of leases as the watch log tells them: revisions that delete all keys of one lease, and nobody's."""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.changelog import WATCHED, ChangeLog
from tester.checkers.linearizability.livecount import LeaseCount
from tester.history.columns import NONE, EventCol, OpCol, ResponseCol
from tester.history.keyranges import END_OF_KEYS
from tester.history.operations import parts_of
from tester.history.records import Delete
from tester.history.table import NEVER
from tester.history.watchlog import WatchLog, merge_watch_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.history import History
    from tester.history.table import Columns


@dataclass(frozen=True, slots=True)
class End:
    """A lease ended at ``revision``."""

    lease: int
    revision: int
    seen: int
    """When the first watcher was told."""
    not_before: int
    """An operation called at this time was still answered from a state before it."""
    keys: int


class LeaseLog:
    """What the watch log says of leases."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.watch: WatchLog = merge_watch_log(history)
        base = self.watch.spans[0][0] - 1 if self.watch.spans else 0
        self._log = ChangeLog(self.watch.events[WATCHED], base)
        self._count = LeaseCount(self._log)
        ops = history.operations.rows.columns
        shared = ops[:, ops[OpCol.LOCAL] == 0]
        order = np.argsort(shared[OpCol.REV], kind="stable")
        self._revisions = shared[OpCol.REV, order]
        self._called = np.maximum.accumulate(shared[OpCol.CALL, order])
        self._written = set(shared[OpCol.REV, shared[OpCol.WROTE] > 0].tolist())
        self._deletions = _Deletions(history)

    def ends(self) -> Iterator[End]:
        """Every end that no operation explains, and that is seen whole."""
        log = self._log
        if not log.size or not self._count.any_lease:
            return
        before = np.maximum(log.previous, 0)
        taken = (log.value == NONE) & (log.previous != NONE) & (log.lease[before] != 0)
        revisions = np.unique(log.revision[taken])
        rows = (log.before(revisions), log.after(revisions), self._seen(revisions))
        for revision, low, high, seen in zip(
            revisions.tolist(), *(column.tolist() for column in rows), strict=True
        ):
            if revision in self._written or not taken[low:high].all():
                continue
            leases = set(log.lease[log.previous[low:high]].tolist())
            if (
                len(leases) == 1
                and self._is_whole(leases, low, high)
                and not self._explained(low, high, seen)
            ):
                yield End(leases.pop(), revision, seen, self.not_before(revision), high - low)

    def survivors(self) -> dict[int, tuple[int, int]]:
        """Leases that have keys where the log ends: a key's number and the revision of its last change."""
        log = self._log
        if not log.size or not self.watch.spans:
            return {}
        first = self.watch.spans[-1][0]
        is_last = np.ones(log.size, dtype=bool)
        is_last[log.previous[log.previous != NONE]] = False
        rows = np.flatnonzero(is_last & (log.lease != 0) & (log.revision >= first))
        columns = (log.lease[rows], log.key[rows], log.revision[rows])
        return {
            lease: (key, revision)
            for lease, key, revision in zip(*(column.tolist() for column in columns), strict=True)
        }

    def tells_of(self, revision: int) -> bool:
        """Whether the log has all that became of the keys that were attached at a revision."""
        return revision <= self.last and self.watch.covers_span(revision, self.last)

    def not_before(self, revision: int) -> int:
        """A time at which ``revision`` had not happened: the last call that was answered from before it."""
        place = int(np.searchsorted(self._revisions, revision, side="left")) - 1
        return int(self._called[place]) if place >= 0 else 0

    @property
    def last(self) -> int:
        """The last revision of which all changes are known."""
        return self.watch.spans[-1][1] if self.watch.spans else 0

    def _is_whole(self, leases: set[int], low: int, high: int) -> bool:
        """Whether these are all keys of the lease, and no gap lies since they were attached."""
        (lease,) = leases
        log = self._log
        attached = int(self._count.attached(np.array([lease]), np.array([low]))[0])
        since = int(log.revision[log.previous[low:high]].min())
        return attached == high - low and self.watch.covers_span(since, int(log.revision[low]))

    def _seen(self, revisions: Columns) -> Columns:
        """When the first watcher was told of each of some revisions, which ascend."""
        events, responses = self._history.events.columns, self._history.responses.columns
        place = np.minimum(np.searchsorted(revisions, events[EventCol.REV]), max(revisions.size - 1, 0))
        told = np.flatnonzero(revisions[place] == events[EventCol.REV]) if revisions.size else place[:0]
        first = np.full(revisions.size, NEVER, dtype=np.int64)
        np.minimum.at(first, place[told], responses[ResponseCol.AT, events[EventCol.RESPONSE, told]])
        return first

    def _explained(self, low: int, high: int, seen: int) -> bool:
        """Whether an operation of unknown outcome may have deleted one of the keys."""
        keys = [self._history.keys.texts[key] for key in self._log.key[low:high].tolist()]
        return any(self._deletions.first(key) <= seen for key in keys)


class _Deletions:
    """Deletions of unknown outcome: there may be thousands, most of one key each."""

    def __init__(self, history: History) -> None:
        self._of_key: dict[str, int] = {}
        ranges: list[tuple[str, str, int]] = []
        for invoke in history.unknown_writes():
            for step in parts_of(invoke.op):
                if not isinstance(step, Delete):
                    continue
                if step.e:
                    ranges.append(
                        (step.k, chr(sys.maxunicode) if step.e == END_OF_KEYS else step.e, invoke.at)
                    )
                else:
                    self._of_key[step.k] = min(invoke.at, self._of_key.get(step.k, NEVER))
        self._ranges = sorted(ranges)
        self._begins = [low for low, _, _ in self._ranges]
        self._furthest = list(accumulate((high for _, high, _ in self._ranges), max))
        """The furthest end of each range and those that begin before it."""

    def first(self, key: str) -> int:
        """When the first that may have deleted a key was called."""
        begun = bisect_right(self._begins, key)
        first = self._of_key.get(key, NEVER)
        if not begun or self._furthest[begun - 1] <= key:
            return first
        return min(first, min((at for _, high, at in self._ranges[:begun] if key < high), default=NEVER))
