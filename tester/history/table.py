"""Columns that grow: a history of millions of operations in a few numbers per operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from enum import IntEnum

Columns: TypeAlias = NDArray[np.int64]
"""Shape ``(fields, rows)``; ``columns[FIELD]`` is one contiguous column."""

Mask: TypeAlias = NDArray[np.bool_]

_BLOCK_ROWS = 1 << 17

NEVER = 2**62
"""A time or revision later than any other."""


class Table:
    """Rows of 64-bit integers, appended one at a time and read as columns."""

    def __init__(self, fields: type[IntEnum]) -> None:
        self.size = 0
        """Rows so far."""
        self.new: list[int] = []
        """Rows that are no columns yet, one after the other. A loop that cannot afford a call per row adds to
        both of these."""
        self._width = len(fields)
        self._columns: Columns = np.empty((self._width, 0), dtype=np.int64)
        self._blocks: list[Columns] = []
        """What is not in ``_columns`` yet."""
        self._room: Columns = np.empty((self._width, 0), dtype=np.int64)
        """What is left of the block that is being filled."""

    def __len__(self) -> int:
        return self.size

    def append(self, *row: int) -> None:
        """Add a row; values in the order of the fields."""
        self.new += row
        self.size += 1

    def extend(self, columns: Columns) -> None:
        """Add rows that are columns already."""
        self.pack()
        self._blocks.append(columns)
        self.size += columns.shape[1]

    def pack(self) -> None:
        """Put new rows where they take a fifth of the memory."""
        if not self.new:
            return
        rows = np.fromiter(self.new, dtype=np.int64, count=len(self.new)).reshape(-1, self._width)
        self.new.clear()
        if len(rows) > self._room.shape[1]:
            # Large blocks, because the kernel supplies memory in large pages then: several times as fast.
            self._room = np.empty((self._width, max(len(rows), min(self.size, _BLOCK_ROWS))), dtype=np.int64)
        target, self._room = self._room[:, : len(rows)], self._room[:, len(rows) :]
        target[:] = rows.T
        self._blocks.append(target)

    @property
    def columns(self) -> Columns:
        """All rows so far; the array does not change when rows are added later."""
        self.pack()
        if self._blocks:
            self._columns = np.concatenate([self._columns, *self._blocks], axis=1)
            self._blocks.clear()
            self._room = self._room[:, :0]
        return self._columns


class Interner:
    """Texts as small numbers, counted up from 0 in order of first sight."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        """By text. A new text gets the number of texts before it."""
        self._texts: list[str] = []

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def texts(self) -> list[str]:
        """Every text at the place of its number."""
        if len(self._texts) != len(self.numbers):
            self._texts = list(self.numbers)
        return self._texts

    def number(self, text: str) -> int:
        """The number of ``text``, a new one if it was never seen."""
        return self.numbers.setdefault(text, len(self.numbers))

    def fill(self, texts: list[str]) -> None:
        """Take all texts at once; there must be none yet, and no text twice."""
        self.numbers.update(zip(texts, range(len(texts)), strict=True))

    def find(self, text: str) -> int | None:
        """The number of ``text`` if it was ever seen."""
        return self.numbers.get(text)
