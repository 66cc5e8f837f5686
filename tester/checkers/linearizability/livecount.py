"""How many keys of a range are there at a place of the log: the completeness of lists and range deletions.

Births and deaths of keys are points (place, rank of key); a count is births minus deaths in a rectangle,
answered for all questions at once by a wavelet matrix: one stable partition per bit of the rank,
O((n + q) log k).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import NONE

if TYPE_CHECKING:
    from tester.checkers.keyorder import KeyOrder
    from tester.checkers.linearizability.changelog import ChangeLog
    from tester.history.table import Columns


class LiveCount:
    """Counts of live keys in rank ranges."""

    def __init__(self, log: ChangeLog, order: KeyOrder) -> None:
        ranks = order.rank[log.key] if log.size else np.empty(0, dtype=np.int64)
        self._bits = max(1, len(order.rank).bit_length())
        dead = np.flatnonzero(log.value == NONE)
        self._born_rows = np.flatnonzero(log.born)
        # What is deleted and was not there was there before the log begins, and not counted.
        self._dead_rows = dead[log.is_live(log.previous[dead])]
        self._born = _Wavelet(ranks[self._born_rows], self._bits)
        self._dead = _Wavelet(ranks[self._dead_rows], self._bits)

    def count(self, places: Columns, low: Columns, high: Columns) -> Columns:
        """Live keys with ``low <= rank < high`` at each place."""
        born = np.searchsorted(self._born_rows, places, side="left")
        dead = np.searchsorted(self._dead_rows, places, side="left")
        return (
            self._born.count_below(born, high)
            - self._born.count_below(born, low)
            - self._dead.count_below(dead, high)
            + self._dead.count_below(dead, low)
        )


class _Wavelet:
    """For each of many questions: how many of the first ``n`` numbers are below a bound."""

    def __init__(self, numbers: Columns, bits: int) -> None:
        self._levels: list[tuple[int, Columns]] = []
        for bit in range(bits - 1, -1, -1):
            ones = (numbers >> bit) & 1
            zeros_before = np.concatenate(([0], np.cumsum(1 - ones)))
            self._levels.append((bit, zeros_before))
            numbers = np.concatenate([numbers[ones == 0], numbers[ones == 1]])

    def count_below(self, first: Columns, bound: Columns) -> Columns:
        """How many of the first ``first`` numbers are below ``bound``, elementwise; ``bound < 2**bits``."""
        low, high = np.zeros_like(first), first.copy()
        below = np.zeros_like(first)
        for bit, zeros_before in self._levels:
            zeros = zeros_before[-1]
            zero_low, zero_high = zeros_before[low], zeros_before[high]
            one = ((bound >> bit) & 1) == 1
            below += np.where(one, zero_high - zero_low, 0)
            low = np.where(one, zeros + low - zero_low, zero_low)
            high = np.where(one, zeros + high - zero_high, zero_high)
        return below


class LeaseCount:
    """How many keys are attached to a lease at a place of the log."""

    def __init__(self, log: ChangeLog) -> None:
        rows = np.flatnonzero(log.lease != 0)
        self.any_lease = bool(rows.size)
        self._numbers = np.unique(log.lease[rows])
        self._width = log.size + 1
        if not self.any_lease:
            return
        until = np.full(log.size, log.size, dtype=np.int64)
        followers = np.flatnonzero(log.previous != NONE)
        until[log.previous[followers]] = followers
        lease = np.searchsorted(self._numbers, log.lease[rows])
        self._starts = np.sort(lease * self._width + rows)
        self._ends = np.sort(lease * self._width + until[rows])

    def attached(self, leases: Columns, places: Columns) -> Columns:
        """Keys attached to each lease at each place."""
        if not self.any_lease:
            return np.zeros(leases.shape, dtype=np.int64)
        number = np.minimum(np.searchsorted(self._numbers, leases), self._numbers.size - 1)
        at = number * self._width + places
        # Both stretches of the composite begin with the lease's own numbers: earlier leases cancel out.
        begun = np.searchsorted(self._starts, at, side="left")
        ended = np.searchsorted(self._ends, at, side="left")
        return np.where(self._numbers[number] == leases, begun - ended, 0)
