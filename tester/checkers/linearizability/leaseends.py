"""Which revisions that nobody asked for may have been the end of a lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import NONE

if TYPE_CHECKING:
    from tester.checkers.linearizability.replay import Replay
    from tester.history.table import Columns


def lease_ends(replay: Replay, orphans: Columns) -> Columns:
    """Revisions that delete exactly the keys of one lease."""
    log = replay.log
    if log.unsure:
        return _old_lease_ends(replay, orphans)
    low, high = log.before(orphans), log.after(orphans)
    previous = log.previous[low] if log.size else low
    lease = np.where(previous == NONE, 0, log.lease[np.maximum(previous, 0)]) if log.size else low
    likely = np.flatnonzero((lease != 0) & (replay.leases.attached(lease, low) == high - low))
    ends = []
    for place in likely:
        rows = slice(int(low[place]), int(high[place]))
        before = log.previous[rows]
        if np.all((log.value[rows] == NONE) & (before != NONE)) and np.all(log.lease[before] == lease[place]):
            ends.append(int(orphans[place]))
    return np.array(ends, dtype=np.int64)


def _old_lease_ends(replay: Replay, orphans: Columns) -> Columns:
    """The same where keys from before the history may have been attached."""
    log = replay.log
    orphans = orphans[log.value[log.before(orphans)] == NONE] if log.size else orphans[:0]
    ends = []
    for orphan, low, high in zip(orphans, log.before(orphans), log.after(orphans), strict=True):
        before = log.previous[low:high]
        old, known = log.is_open(log.key[low:high], before), before[before != NONE]
        leases = np.unique(log.lease[known])
        if np.any(log.value[low:high] != NONE) or np.any(~old & (before == NONE)) or leases.size > 1:
            continue
        if not leases.size or (leases[0] and replay.leases.attached(leases, low) == known.size):
            ends.append(int(orphan))
    return np.array(ends, dtype=np.int64)
