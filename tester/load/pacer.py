"""A rate for all clients of a stresser together."""

from __future__ import annotations

import asyncio
import time

# A client that comes this late still takes its slot, so that timer jitter does not lower the rate. What is
# later is dropped: after a pause or a stall the load goes on at its rate and does not catch up in a burst.
_TOLERANCE_SECONDS = 0.02


class Pacer:
    """Hands out one slot every ``1 / rate`` seconds. ``rate`` ``None``: at once."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 0.0 if rate is None else 1.0 / rate
        self._next = time.monotonic()
        self.lag_seconds = 0.0
        """By how much the schedule has slipped in total because no client was free to take a slot."""

    async def slot(self) -> None:
        """Wait for the next slot."""
        if not self._interval:
            return
        now = time.monotonic()
        late = now - self._next
        if late > _TOLERANCE_SECONDS:
            self.lag_seconds += late
            self._next = now
        wait = self._next - now
        self._next += self._interval
        if wait > 0:
            await asyncio.sleep(wait)

    def restart(self) -> None:
        """Start the schedule anew: time spent in a pause is no lag."""
        self._next = time.monotonic()
