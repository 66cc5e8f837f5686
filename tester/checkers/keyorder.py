"""Keys in etcd's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import NONE
from tester.history.keyranges import END_OF_KEYS, end_of_prefix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tester.history.table import Columns


class KeyOrder:
    """Ranks of keys: a range of keys is a range of ranks."""

    def __init__(self, texts: list[str]) -> None:
        # Code point order of text is byte order of its UTF-8.
        order = sorted(range(len(texts)), key=texts.__getitem__)
        self._texts = texts
        self.by_rank: Columns = np.array(order, dtype=np.int64)
        self.rank: Columns = np.empty(len(texts), dtype=np.int64)
        self.rank[self.by_rank] = np.arange(len(texts))
        self._end_of_keys = texts.index(END_OF_KEYS) if END_OF_KEYS in texts else NONE

    def spans(self, keys: Columns, ends: Columns) -> tuple[Columns, Columns]:
        """First rank and rank after the last of each ``[key, end)``; an end of ``NONE`` is the single key."""
        low = self.rank[keys]
        high = np.where(ends == NONE, low + 1, self.rank[ends])
        open_ended = (ends == self._end_of_keys) & (ends != NONE)
        return low, np.where(open_ended, len(self.rank), np.maximum(low, high))

    def inside(self, keys: Columns, ends: Columns, prefix: str) -> NDArray[np.bool_]:
        """Which ``[key, end)`` hold nothing but keys with the prefix: the rest belongs to other people."""
        if not prefix:
            return np.ones(keys.shape, dtype=bool)
        last = end_of_prefix(prefix)
        fits = np.array([prefix <= text < last for text in self._texts], dtype=bool)
        ends_within = np.array([prefix < text <= last for text in self._texts], dtype=bool)
        within: NDArray[np.bool_] = fits[keys] & ((ends == NONE) | ends_within[ends])
        return within
