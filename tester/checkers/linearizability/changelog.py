"""Every change of every key in order of revision, and the state of any key at any place of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tester.history.columns import NONE, EventCol
from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.history.table import Columns, Mask

_SPARSE = 1_000_000
"""Revisions without a change that are worth a place in the index."""

UNSEEN = -2
"""A value that nobody saw: a key that was there before, of which only the key was read."""


def stable_order(numbers: Columns) -> Columns:
    """Indices that sort small non-negative numbers stably, by radix: much faster than by comparison."""
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    if numbers.size and int(numbers.max()) >= 1 << 16:
        order = order[np.argsort((numbers >> 16)[order].astype(np.uint16), kind="stable")]
        if int(numbers.max()) >= 1 << 32:
            raise OverflowError("more than 2**32 keys")
    return order


WATCHED: Final = [
    EventCol.REV,
    EventCol.KEY,
    EventCol.VALUE,
    EventCol.LEASE,
    EventCol.CREATE,
    EventCol.VERSION,
]
"""Of watched changes, the columns that are rows of a ``ChangeLog``."""


class ChangeLog:
    """Rows by revision and place within it. A *place* is a number of rows: the state before that row."""

    def __init__(self, rows: Columns, base: int, unsure: int = NEVER) -> None:
        """Rows of ``revision, key, value, lease, told create, told version``; told is 0 where nobody did.

        Args:
            rows: Shape ``(6, n)``, sorted.
            base: Keys created up to this revision may have been there before the history began.
            unsure: From this revision on something unseen may have happened, and there may have been keys before the
                history of which the rows do not tell; ``NEVER``: they tell of all.
        """
        self.unsure = unsure != NEVER
        self.revision, self.key, self.value, self.lease, self.told_create, self.told_version = rows
        self.size = self.revision.size
        self._by_key = stable_order(self.key)
        keys = self.key[self._by_key]
        self._keys = keys
        self._composite = keys * (self.size + 1) + self._by_key
        first = np.ones(self.size, dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        self._starts = self._index()
        self._number_versions(first, base, unsure)
        self.previous = self._scatter(np.where(first, NONE, np.roll(self._by_key, 1)))
        """Row of the change before, of the same key; ``NONE``: the first."""

    def _number_versions(self, first: Mask, base: int, unsure: int) -> None:
        values, keys = self.value[self._by_key], self._keys
        is_put = values != NONE
        born = is_put & (first | np.roll(values == NONE, 1))
        place = np.arange(self.size)
        start = np.maximum.accumulate(np.where(born, place, 0))
        told_version, told_create = self.told_version[self._by_key], self.told_create[self._by_key]
        known_before = born & first & (told_version > 0) & (told_create <= base)
        first_version = np.where(known_before, told_version, 1)
        created = np.where(known_before, told_create, self.revision[self._by_key])
        self.version = self._scatter(np.where(is_put, place - start + first_version[start], 0))
        self.create = self._scatter(np.where(is_put, created[start], 0))
        self.born = np.zeros(self.size, dtype=bool)
        self.born[self._by_key] = born
        self.ageless = np.zeros(self.size, dtype=bool)
        """Rows of a life that may have begun before the history did: create revision and version are not known."""
        self._new = np.zeros(int(keys[-1]) + 1 if self.size else 0, dtype=bool)
        """By key, whether it was not there before its first row."""
        if self.unsure and self.size:
            begins = born & first & (self.revision[self._by_key] > base)
            self.ageless[self._by_key] = (begins & (told_version == 0))[start] & is_put
            begins &= self.revision[self._by_key] <= unsure
            self._new[keys[begins & (told_version == 1)]] = True

    def _scatter(self, by_key: Columns) -> Columns:
        out = np.empty(self.size, dtype=np.int64)
        out[self._by_key] = by_key
        return out

    def before(self, revisions: Columns) -> Columns:
        """The place before all changes of each revision."""
        return self._place(revisions)

    def after(self, revisions: Columns) -> Columns:
        """The place after all changes of each revision."""
        return self._place(revisions + 1)

    def _place(self, revisions: Columns) -> Columns:
        """The first row at or above each revision."""
        if self._starts.size == 0:
            return np.searchsorted(self.revision, revisions, side="left")
        found: Columns = self._starts[np.clip(revisions - self.revision[0], 0, self._starts.size - 1)]
        return found

    def _index(self) -> Columns:
        """Row of the first change at or above each revision, from the first row's on; empty: too sparse.

        Revisions count up by one, so that a look-up is an addition where others need a binary search.
        """
        if (
            not self.size
            or (width := int(self.revision[-1] - self.revision[0]) + 2) > 4 * self.size + _SPARSE
        ):
            return np.empty(0, dtype=np.int64)
        counts = np.bincount(self.revision - self.revision[0] + 1, minlength=width)
        return np.cumsum(counts)

    def row_at(self, keys: Columns, places: Columns) -> Columns:
        """The row that tells the state of each key at each place; ``NONE``: it was never changed before."""
        if self.size == 0:
            return np.full(keys.shape, NONE, dtype=np.int64)
        found = np.searchsorted(self._composite, keys * (self.size + 1) + places, side="left") - 1
        at = np.maximum(found, 0)
        return np.where((found >= 0) & (self._keys[at] == keys), self._by_key[at], NONE)

    def is_open(self, keys: Columns, rows: Columns) -> Mask:
        """Whether a state that no row tells may be a key from before the history, or none."""
        if not self.unsure:
            return np.zeros(rows.shape, dtype=bool)
        new = np.append(self._new, False)[np.minimum(keys, self._new.size)]
        is_open: Mask = (rows == NONE) & ~new
        return is_open

    def is_live(self, rows: Columns) -> Mask:
        """Whether a state is a key that is there; ``NONE`` is not."""
        if self.size == 0:
            return np.zeros(rows.shape, dtype=bool)
        live: Mask = (rows != NONE) & (self.value[np.maximum(rows, 0)] != NONE)
        return live
