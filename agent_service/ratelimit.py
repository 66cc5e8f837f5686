"""How many requests a second each caller may make."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Final

BURST_SECONDS: Final = 2.0
"""Of the sustained rate: so many requests may come at once after a rest."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimit:
    """A token bucket for each caller; callers are those on the agent's lists, so that there are few.

    Args:
        per_second: requests of one caller, sustained; twice as many at once.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._buckets: dict[str, _Bucket] = {}

    def wait_seconds(self, caller: str) -> float:
        """Take a token; 0: there was one. Else the seconds until there is."""
        now, most = monotonic(), self._per_second * BURST_SECONDS
        bucket = self._buckets.setdefault(caller, _Bucket(most, now))
        bucket.tokens = min(most, bucket.tokens + (now - bucket.filled) * self._per_second)
        bucket.filled = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self._per_second
