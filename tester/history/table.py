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
        self._width = len(fields)
        self._held: Columns = np.empty((self._width, 0), dtype=np.int64)
        """Rows that are columns, and room for more: what is never touched takes no memory."""
        self._filled = 0
        self._new: list[int] = []
        """Rows that came one by one and are no columns yet, one after the other."""

    def __len__(self) -> int:
        return self._filled + len(self._new) // self._width

    def append(self, *row: int) -> None:
        """Add a row; values in the order of the fields."""
        self._new += row

    def grow(self, rows: int) -> Columns:
        """Add rows. Returns their columns, which hold anything: they are the caller's to fill, at once."""
        self._pack()
        return self._add(rows)

    def extend(self, columns: Columns) -> None:
        """Add rows that are columns already."""
        self._pack()
        if self._filled:
            self._add(columns.shape[1])[:] = columns
        else:
            self._held, self._filled = np.ascontiguousarray(columns), columns.shape[1]

    @property
    def columns(self) -> Columns:
        """All rows so far; the array does not change when rows are added later."""
        self._pack()
        return self._held[:, : self._filled]

    def __getstate__(self) -> Columns:
        return self.columns

    def __setstate__(self, columns: Columns) -> None:
        self._width, self._filled = columns.shape
        self._held, self._new = columns, []

    def _add(self, rows: int) -> Columns:
        before, self._filled = self._filled, self._filled + rows
        if self._filled > self._held.shape[1]:
            # Twice as much each time: a history that is read at the end of every case is not copied for each.
            larger = np.empty((self._width, max(self._filled, 2 * self._held.shape[1])), dtype=np.int64)
            larger[:, :before] = self._held[:, :before]
            self._held = larger
        return self._held[:, before : self._filled]

    def _pack(self) -> None:
        if self._new:
            rows = column(self._new).reshape(-1, self._width).T
            self._new.clear()
            self._add(rows.shape[1])[:] = rows


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

    def __getstate__(self) -> list[str]:
        return self.texts

    def __setstate__(self, texts: list[str]) -> None:
        self.fill(texts)

    def find(self, text: str) -> int | None:
        """The number of ``text`` if it was ever seen."""
        return self.numbers.get(text)
