"""Gaps in service: when operations waited and none was answered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tester.results import ServiceGap

LEAST_NS = 100_000_000
"""Shorter ones are none: a busy controller makes such pauses by itself."""
_KEPT = 10_000
TOLD = 10
"""Of a stretch, the longest; ``total`` and ``seconds`` count all."""


@dataclass(frozen=True, slots=True)
class GapsWithin:
    """The gaps that overlap a stretch."""

    told: tuple[ServiceGap, ...]
    total: int
    seconds: float
    """What of the stretch lies in gaps."""


class Gaps:
    """Is told when operations were due and when they ended; remembers the last ten thousand gaps.

    Nobody waits while nothing is asked for: a pause of the load, or a slow rate, is no gap.
    """

    def __init__(self) -> None:
        self.found: deque[ServiceGap] = deque(maxlen=_KEPT)
        self._last_ok_ns = 0
        self._waiting_ns: int | None = None
        """When the first of those was due that ended otherwise than ``ok`` since the last ``ok``."""

    def ok(self, due_ns: int, end_ns: int) -> None:
        """An operation was answered."""
        if end_ns - self._last_ok_ns > LEAST_NS:
            start = self._start(due_ns)
            if end_ns - start > LEAST_NS:
                self.found.append(ServiceGap(start, end_ns))
        self._last_ok_ns = end_ns
        self._waiting_ns = None

    def not_ok(self, due_ns: int) -> None:
        """An operation failed, or nobody knows."""
        if self._waiting_ns is None or due_ns < self._waiting_ns:
            self._waiting_ns = due_ns

    def rest(self, at_ns: int) -> None:
        """Nothing more is asked for, until the next call: a gap ends here, for want of anybody who waits."""
        if self._waiting_ns is not None:
            start = self._start(self._waiting_ns)
            if at_ns - start > LEAST_NS:
                self.found.append(ServiceGap(start, at_ns))
            self._waiting_ns = None

    def within(self, start_ns: int, end_ns: int) -> GapsWithin:
        """Those that overlap ``[start_ns, end_ns)``, also one that has not ended."""
        gaps = list(self.found)
        if self._waiting_ns is not None:
            gaps.append(ServiceGap(self._start(self._waiting_ns), None))
        told = []
        covered = 0
        for gap in gaps:
            end = end_ns if gap.end_ns is None else gap.end_ns
            overlap = min(end, end_ns) - max(gap.start_ns, start_ns)
            if overlap > 0 and end - gap.start_ns > LEAST_NS:
                told.append(gap)
                covered += overlap
        longest = sorted(told, key=lambda gap: gap.start_ns - (end_ns if gap.end_ns is None else gap.end_ns))
        few = sorted(longest[:TOLD], key=lambda gap: gap.start_ns)
        return GapsWithin(tuple(few), len(told), covered / 1e9)

    def _start(self, due_ns: int) -> int:
        if self._waiting_ns is not None:
            due_ns = min(due_ns, self._waiting_ns)
        return max(due_ns, self._last_ok_ns)
