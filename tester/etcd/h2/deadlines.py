"""Deadlines of all calls of a channel, kept by one timer."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.etcd.h2.calls import Call

_BETWEEN_SWEEPS_SECONDS = 0.005


class Deadlines:
    """Tells ``expire`` of every call whose deadline has passed, at most a sweep (5 ms) late.

    The timer stands at the earliest deadline seen. Calls mostly have the same timeout and end long before it,
    so it fires about once per timeout and finds little to do: nothing is sorted, and a call costs two
    operations on a dict.
    """

    def __init__(self, expire: Callable[[Call], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._calls: dict[Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at = float("inf")

    def add(self, call: Call) -> None:
        """Watch the call."""
        self._calls[call] = None
        if call.deadline < self._at:
            self._arm(call.deadline)

    def remove(self, call: Call) -> None:
        """The call has ended."""
        self._calls.pop(call, None)

    def all(self) -> tuple[Call, ...]:
        """The calls that have not ended."""
        return tuple(self._calls)

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._at = float("inf")
        self._calls.clear()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        late = [call for call in self._calls if call.deadline <= now]
        for call in sorted(late, key=attrgetter("deadline")):
            del self._calls[call]
            self._expire(call)
        self._timer, self._at = None, float("inf")
        if self._calls:
            earliest = min(call.deadline for call in self._calls)
            self._arm(max(earliest, now + _BETWEEN_SWEEPS_SECONDS))
