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
        self._pack = Struct(f"{len(fields)}q").pack
        self._width = len(fields)
        self._new = bytearray()
        self._rows = 0
        self._columns: Columns = np.empty((self._width, 0), dtype=np.int64)

    def __len__(self) -> int:
        return self._rows

    def append(self, *row: int) -> None:
        """Add a row; values in the order of the fields."""
        self._new += self._pack(*row)
        self._rows += 1

    @property
    def columns(self) -> Columns:
        """All rows so far; the array does not change when rows are added later."""
        if self._new:
            rows = np.frombuffer(self._new, dtype=np.int64).reshape(-1, self._width)
            self._columns = np.concatenate([self._columns, rows.T], axis=1)
            self._new = bytearray()
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
