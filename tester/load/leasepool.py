"""The few leases of one client that its keys hang on. Pure but for the time."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.records import LeaseGrant, LeaseRevoke

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LEASES = 4
_PUTS = 25
"""So many puts, and a lease is done with."""
_ENDING_SECONDS = 3
"""Time to live of those that end by themselves: every second one."""
_REVOKED_SECONDS = 120
"""Of those that are revoked when they are done with; nobody renews them, either."""
_MARGIN_SECONDS = 1.0
"""A lease about to end gets no more keys: a put that comes too late is refused."""


@dataclass(slots=True)
class _Held:
    number: int
    ends: bool
    until: float
    puts: int = 0


class LeasePool:
    """Leases in turn, half of them ending and half revoked: their keys go while others read and compare them."""

    def __init__(self, lease_ids: Iterator[int], now: Callable[[], float] = time.monotonic) -> None:
        """An empty pool.

        Args:
            lease_ids: shared by all clients of a run; none is used twice.
            now: seconds on a clock that does not go back.
        """
        self._lease_ids = lease_ids
        self._now = now
        self._held: deque[_Held] = deque()
        self._spent: list[int] = []
        self._granted = 0
        self._asked = False

    def next(self) -> int | LeaseGrant | LeaseRevoke:
        """A lease to put with, or what has to be asked for first."""
        if self._spent:
            return LeaseRevoke(self._spent.pop())
        now = self._now()
        while self._held and (self._held[0].until <= now or self._held[0].puts >= _PUTS):
            done = self._held.popleft()
            if not done.ends:
                self._spent.append(done.number)
        if self._spent:
            return LeaseRevoke(self._spent.pop())
        if len(self._held) < _LEASES and not (self._held and self._asked):
            self._asked = True  # the next one is put with what there is: a client is no mere granter
            ends = self._granted % 2 == 0
            return LeaseGrant(next(self._lease_ids), _ENDING_SECONDS if ends else _REVOKED_SECONDS)
        self._asked = False
        held = self._held[0]
        self._held.rotate(-1)
        held.puts += 1
        return held.number

    def learn(self, grant: LeaseGrant) -> None:
        """It was granted."""
        self._granted += 1
        self._held.append(
            _Held(grant.l, grant.ttl == _ENDING_SECONDS, self._now() + grant.ttl - _MARGIN_SECONDS)
        )

    def lost(self, lease: int) -> None:
        """A put with it failed, or nobody knows: perhaps it is gone."""
        for held in self._held:
            if held.number == lease:
                held.until = 0.0
                return
