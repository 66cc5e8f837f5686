"""Columns that grow: a history of millions of operations in a few numbers per operation."""

from __future__ import annotations

import struct
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tester.history.mismatch import HistoryMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import IntEnum

Columns: TypeAlias = NDArray[np.int64]
"""Shape ``(fields, rows)``; ``columns[FIELD]`` is one contiguous column."""

Mask: TypeAlias = NDArray[np.bool_]

_BLOCK_ROWS = 1 << 17

NEVER = 2**62
"""A time or revision later than any other."""


def column(numbers: Sequence[int]) -> Columns:
    """Numbers as a read-only column; numpy's own ways to make one take twice as long.

    Raises:
        HistoryMismatchError: a number takes more than 64 bits.
    """
    try:
        return np.frombuffer(struct.pack(f"{len(numbers)}q", *numbers), dtype=np.int64)
    except struct.error as error:
        raise HistoryMismatchError(f"{max(numbers, key=abs)} takes more than 64 bits") from error


class Table:
    """Rows of 64-bit integers, added some at a time and read as columns."""

    def __init__(self, fields: type[IntEnum]) -> None:
        self._size = 0
        self._width = len(fields)
        self._columns: Columns = np.empty((self._width, 0), dtype=np.int64)
        self._blocks: list[Columns] = []
        """What is not in ``_columns`` yet."""
        self._room: Columns = np.empty((self._width, 0), dtype=np.int64)
        """What is left of the block that is being filled."""
        self._new: list[int] = []
        """Rows that came one by one and are no columns yet, one after the other."""

    def __len__(self) -> int:
        return self._size

    def append(self, *row: int) -> None:
        """Add a row; values in the order of the fields."""
        self._new += row
        self._size += 1

    def grow(self, rows: int) -> Columns:
        """Add rows. Returns their columns, which hold anything: they are the caller's to fill."""
        self._pack()
        if rows > self._room.shape[1]:
            # Large blocks, because the kernel supplies memory in large pages then: several times as fast.
            self._room = np.empty((self._width, max(rows, min(self._size, _BLOCK_ROWS))), dtype=np.int64)
        added, self._room = self._room[:, :rows], self._room[:, rows:]
        self._blocks.append(added)
        self._size += rows
        return added

    def extend(self, columns: Columns) -> None:
        """Add rows that are columns already."""
        self._pack()
        self._blocks.append(columns)
        self._size += columns.shape[1]

    @property
    def columns(self) -> Columns:
        """All rows so far; the array does not change when rows are added later."""
        self._pack()
        if self._blocks:
            if len(self._blocks) == 1 and not self._columns.size:
                self._columns = np.ascontiguousarray(self._blocks[0])
            else:
                self._columns = np.concatenate([self._columns, *self._blocks], axis=1)
            self._blocks.clear()
            self._room = self._room[:, :0]
        return self._columns

    def _pack(self) -> None:
        if self._new:
            self._blocks.append(column(self._new).reshape(-1, self._width).T)
            self._new.clear()


class Interner:
    """Texts as small numbers, counted up from 0 in order of first sight."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._numbers: dict[str, int] | None = None
        """``None``: those of ``_texts``, which nobody has asked for."""

    def __len__(self) -> int:
        return len(self._texts if self._numbers is None else self._numbers)

    @property
    def numbers(self) -> dict[str, int]:
        """By text; ``numbers[text]`` gives a text that was never seen the next number."""
        if self._numbers is None:
            # Only now: for all values of a long history it takes a fifth of a second.
            known = zip(self._texts, range(len(self._texts)), strict=True)
            self._numbers = defaultdict(count(len(self._texts)).__next__, known)
        return self._numbers

    @property
    def texts(self) -> list[str]:
        """Every text at the place of its number."""
        if len(self._texts) != len(self):
            self._texts = list(self.numbers)
        return self._texts

    def fill(self, texts: list[str]) -> None:
        """Take all texts at once; there must be none yet, and no text twice."""
        self._texts, self._numbers = texts, None

    def find(self, text: str) -> int | None:
        """The number of ``text`` if it was ever seen."""
        return self.numbers.get(text)
