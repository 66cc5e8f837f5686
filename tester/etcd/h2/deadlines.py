"""Deadlines of all calls of a channel, kept by one timer."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tester.etcd.h2.calls import Call

_BETWEEN_SWEEPS_SECONDS = 0.005


class Deadlines:
    """Tells ``expire`` of every call whose deadline has passed, at most a sweep (5 ms) late.

    The timer stands at the earliest deadline seen, and then looks through whatever is in flight. Calls mostly have the
    same timeout and end long before it, so it fires about once per timeout and finds little to do: nothing is sorted
    or kept, and a call costs one comparison.
    """

    def __init__(self, in_flight: Callable[[], Iterable[Call]], expire: Callable[[Call], None]) -> None:
        """Watch over nothing yet.

        Args:
            in_flight: all calls that may not have ended.
            expire: ends a call, and is told of none that has ended.
        """
        self._loop = asyncio.get_running_loop()
        self._in_flight = in_flight
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self.earliest = float("inf")

    def watch(self, deadline: float) -> None:
        """A call with this deadline, on the clock of the loop, is in flight; of no use from ``earliest`` on."""
        if deadline < self.earliest:
            self._arm(deadline)

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        self.earliest = float("inf")

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.earliest = at
        self._timer = self._loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        waiting = [call for call in self._in_flight() if not call.future.done()]
        for call in sorted((call for call in waiting if call.deadline <= now), key=attrgetter("deadline")):
            self._expire(call)
        self._timer, self.earliest = None, float("inf")
        if rest := [call.deadline for call in waiting if call.deadline > now]:
            self._arm(max(min(rest), now + _BETWEEN_SWEEPS_SECONDS))
