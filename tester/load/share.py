"""Which part of a load a process has: its clients, and numbers that no other process draws."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Share:
    """Worker ``number`` of ``workers``. Clients are dealt out in turn; the same ones for the same numbers."""

    number: int
    workers: int
    alone: bool = False
    """Nobody draws numbers beside it."""

    @classmethod
    def rest(cls, workers: int) -> Share:
        """What the tester itself keeps beside its workers: no clients, and numbers of its own."""
        return cls(workers, workers)

    @property
    def _slots(self) -> int:
        return 1 if self.alone else self.workers + 1

    def has(self, place: int) -> bool:
        """Whether the client at this place of a stresser is here."""
        return place % self.workers == self.number

    def of_rate(self, rate: float | None, clients: int) -> float | None:
        """What of a stresser's rate its clients here have; ``None``: no limit."""
        here = len(range(self.number, clients, self.workers))
        return rate * here / clients if rate is not None and here else rate

    def numbers(self, first: int = 1) -> Iterator[int]:
        """Of operations, values and leases: each drawn by one process alone."""
        return count(first + self.number, self._slots)


WHOLE = Share(0, 1, alone=True)
"""All of it, in the tester's own process."""
