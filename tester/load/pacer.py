"""A rate for all clients of a stresser together."""

from __future__ import annotations

import asyncio
import time

from tester.load.kinds import Arrivals

# A client that comes this late still takes its slot, so that timer jitter does not lower the rate. What is
# later is dropped in a closed loop: after a stall it goes on at its rate and does not catch up in a burst.
_TOLERANCE_SECONDS = 0.02


class Pacer:
    """Hands out one slot every ``1 / rate`` seconds. ``rate`` ``None``: at once."""

    def __init__(self, rate: float | None, arrivals: Arrivals = Arrivals.CLOSED) -> None:
        self._interval = 0.0 if rate is None else 1.0 / rate
        self.unlimited = rate is None
        """There is always a slot, and ``slot`` never waits."""
        self._next = time.monotonic()
        self.open = arrivals is Arrivals.OPEN
        """Every slot is handed out, however late."""
        self.lag_seconds = 0.0
        """Because no client was free to take a slot: in a closed loop by how much the schedule has slipped
        in total, in an open one how late the latest slot was taken."""

    async def slot(self) -> int:
        """Wait for the next slot; by how many nanoseconds an open loop's is late."""
        if not self._interval:
            return 0
        now = time.monotonic()
        due, late = self._next, now - self._next
        if self.open:
            self.lag_seconds = max(self.lag_seconds, late)
        elif late > _TOLERANCE_SECONDS:
            self.lag_seconds += late
            due = now
        self._next = due + self._interval
        if due > now:
            await asyncio.sleep(due - now)
        return max(0, int((time.monotonic() - due) * 1e9)) if self.open else 0

    def restart(self) -> None:
        """Start the schedule anew: time spent in a pause is no lag."""
        self._next = time.monotonic()
