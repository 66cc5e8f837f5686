"""Every change of every key in order of revision, and the state of any key at any place of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tester.checkers.linearizability.revisions import RevisionIndex
from tester.history.columns import NONE, EventCol
from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.history.table import Columns, Mask

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

    def __init__(self, rows: Columns, base: int, unsure: int = NEVER, guessed: Columns | None = None) -> None:
        """Rows of ``revision, key, value, lease, told create, told version``; told is 0 where nobody did.

        Args:
            rows: Shape ``(6, n)``, sorted.
            base: Keys created up to this revision may have been there before the history began.
            unsure: From this revision on something unseen may have happened, and there may have been keys before the
                history of which the rows do not tell; ``NEVER``: they tell of all.
            guessed: Rows whose told version may be too high.
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
        self._places = RevisionIndex(self.revision)
        self._number_versions(first, base, unsure, guessed)
        self.previous = np.empty(self.size, dtype=np.int64)
        self.previous[self._by_key] = np.where(first, NONE, np.roll(self._by_key, 1))
        """Row of the change before, of the same key; ``NONE``: the first."""

    def _number_versions(self, first: Mask, base: int, unsure: int, guessed: Columns | None) -> None:
        rows, keys = self._by_key, self._keys
        deleted = self.value[rows] == NONE
        is_put = ~deleted
        born = is_put & (first | np.roll(deleted, 1))
        begins = np.flatnonzero(born)
        created, first_version = self.revision[rows[begins]], np.ones(begins.size, dtype=np.int64)
        # Of each key only the first life can be older than the history.
        oldest = np.flatnonzero(first[begins])
        opening = rows[begins[oldest]]
        older = (self.told_version[opening] > 0) & (self.told_create[opening] <= base)
        created[oldest[older]] = self.told_create[opening[older]]
        first_version[oldest[older]] = self.told_version[opening[older]]
        # What comes before the first life of all is deleted, and has neither.
        life = np.maximum(np.cumsum(born) - 1, 0)
        since_birth = first_version - begins
        self.version, self.create = np.zeros((2, self.size), dtype=np.int64)
        if begins.size:
            self.version[rows] = np.where(is_put, np.arange(self.size) + since_birth[life], 0)
            self.create[rows] = np.where(is_put, created[life], 0)
        self.born = np.zeros(self.size, dtype=bool)
        self.born[rows] = born
        self.ageless = np.zeros(self.size, dtype=bool)
        """Rows of a life that may have begun before the history did: create revision and version are not known."""
        self._new = np.zeros(int(keys[-1]) + 1 if self.size else 0, dtype=bool)
        """By key, whether it was not there before its first row."""
        if self.unsure and begins.size:
            unaged = np.zeros(begins.size, dtype=bool)
            told = self.told_version[opening]
            ours = self.revision[opening] > base
            unaged[oldest] = ours & ((told == 0) | np.isin(opening, [] if guessed is None else guessed))
            self.ageless[rows] = unaged[life] & is_put
            new = ours & (self.revision[opening] <= unsure) & (told == 1)
            self._new[self.key[opening[new]]] = True

    def before(self, revisions: Columns) -> Columns:
        """The place before all changes of each revision."""
        return self._places.at_or_above(revisions)

    def after(self, revisions: Columns) -> Columns:
        """The place after all changes of each revision."""
        return self._places.at_or_above(revisions + 1)

    def row_at(self, keys: Columns, places: Columns) -> Columns:
        """The row that tells the state of each key at each place; ``NONE``: it was never changed before."""
        if self.size == 0:
            return np.full(keys.shape, NONE, dtype=np.int64)
        # Key by key, so that a search is where the one before it was: a third of the time.
        order = stable_order(keys)
        asked = keys[order]
        found = np.searchsorted(self._composite, asked * (self.size + 1) + places[order], side="left") - 1
        at = np.maximum(found, 0)
        rows = np.empty(keys.shape, dtype=np.int64)
        rows[order] = np.where((found >= 0) & (self._keys[at] == asked), self._by_key[at], NONE)
        return rows

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
