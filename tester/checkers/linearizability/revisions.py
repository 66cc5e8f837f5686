"""Where a revision is in a column of revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tester.history.table import Columns

_SPARSE = 1_000_000
"""Revisions that are not in the column and are worth a place in the index."""


class RevisionIndex:
    """Places in an ascending column.

    Revisions count up by one, so that a look-up is an addition where others need a binary search; a column with too
    much between its numbers is searched.
    """

    def __init__(self, revisions: Columns) -> None:
        self._revisions = revisions
        self._first = int(revisions[0]) if revisions.size else 0
        self._places: Columns | None = None
        """Of the first revision and each after it, up to the one after the last."""
        if revisions.size and (width := int(revisions[-1]) - self._first + 2) <= 4 * revisions.size + _SPARSE:
            self._places = np.cumsum(np.bincount(revisions - (self._first - 1), minlength=width))

    def at_or_above(self, revisions: Columns) -> Columns:
        """The first place whose revision is at least that; the size of the column where there is none."""
        if self._places is None:
            return np.searchsorted(self._revisions, revisions, side="left")
        found: Columns = self._places[np.clip(revisions - self._first, 0, self._places.size - 1)]
        return found
