"""The one clock of a run.

Every time in a history, an event or a result is an integer of nanoseconds since the start of the run, read
from CLOCK_MONOTONIC of the controller: it never goes back and no clock fault on a host can bend it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunClock:
    """Nanoseconds since its creation; ``started_realtime_ns`` says when that was."""

    origin_ns: int = field(default_factory=time.monotonic_ns)
    started_realtime_ns: int = field(default_factory=time.time_ns)

    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        return time.monotonic_ns() - self.origin_ns
