"""Columns that grow: a history of millions of operations in a few numbers per operation."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from enum import IntEnum

Columns: TypeAlias = NDArray[np.int64]
"""Shape ``(fields, rows)``; ``columns[FIELD]`` is one contiguous column."""

Mask: TypeAlias = NDArray[np.bool_]

NEVER = 2**62
"""A time or revision later than any other."""


class Table:
    """Rows of 64-bit integers, appended one at a time and read as columns."""

    def __init__(self, fields: type[IntEnum]) -> None:
        self._row = Struct(f"{len(fields)}q")
        self._width = len(fields)
        self._bytes = bytearray()
        self._columns: Columns = np.empty((self._width, 0), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._bytes) // self._row.size

    def append(self, *row: int) -> None:
        """Add a row; values in the order of the fields."""
        self._bytes += self._row.pack(*row)

    @property
    def columns(self) -> Columns:
        """All rows so far. The array is a copy and is made anew only when rows were added."""
        if self._columns.shape[1] != len(self):
            rows = np.frombuffer(bytes(self._bytes), dtype=np.int64).reshape(-1, self._width)
            self._columns = np.ascontiguousarray(rows.T)
        return self._columns


class Interner:
    """Texts as small numbers, counted up from 0 in order of first sight."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.texts: list[str] = []

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, text: str) -> int:
        """The number of ``text``, a new one if it was never seen."""
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def find(self, text: str) -> int | None:
        """The number of ``text`` if it was ever seen."""
        return self._numbers.get(text)
