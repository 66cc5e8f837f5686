"""Gaps in service: when operations waited and none was answered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tester.results import ServiceGap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        self._told = 0
        """How many of all were told as ``news``."""
        self._total = 0
        self._last_ok_ns = 0
        self._waiting_ns: int | None = None
        """When the first of those was due that ended otherwise than ``ok`` since the last ``ok``."""

    def ok(self, due_ns: int, end_ns: int) -> None:
        """An operation was answered."""
        if end_ns - self._last_ok_ns > LEAST_NS:
            start = self._start(due_ns)
            if end_ns - start > LEAST_NS:
                self._add(ServiceGap(start, end_ns))
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
                self._add(ServiceGap(start, at_ns))
            self._waiting_ns = None

    def all(self) -> list[ServiceGap]:
        """Every gap that is remembered, also one that has not ended."""
        gaps = list(self.found)
        if self._waiting_ns is not None:
            gaps.append(ServiceGap(self._start(self._waiting_ns), None))
        return gaps

    def news(self) -> list[ServiceGap]:
        """Those that ended since the last call."""
        new = self._total - self._told
        self._told = self._total
        return list(self.found)[-new:] if new else []

    @property
    def waiting_since_ns(self) -> int | None:
        """When a gap began that has not ended; perhaps a moment ago."""
        return None if self._waiting_ns is None else self._start(self._waiting_ns)

    def within(self, start_ns: int, end_ns: int) -> GapsWithin:
        """Those that overlap ``[start_ns, end_ns)``, also one that has not ended."""
        return gaps_within(self.all(), start_ns, end_ns)

    def absorb(self, ended: list[tuple[int, int]], waiting_since_ns: int | None) -> None:
        """What another one found since it was last asked."""
        self.found.extend(ServiceGap(start, end) for start, end in ended)
        self._waiting_ns = waiting_since_ns

    def _add(self, gap: ServiceGap) -> None:
        self.found.append(gap)
        self._total += 1

    def _start(self, due_ns: int) -> int:
        if self._waiting_ns is not None:
            due_ns = min(due_ns, self._waiting_ns)
        return max(due_ns, self._last_ok_ns)


def gaps_within(gaps: Sequence[ServiceGap], start_ns: int, end_ns: int) -> GapsWithin:
    """Those that overlap ``[start_ns, end_ns)``. Pure."""
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


def shared_gaps(of_each: Sequence[Sequence[ServiceGap]]) -> list[ServiceGap]:
    """What all of them have in common, in order of time. Pure."""
    if not of_each:
        return []
    shared = list(of_each[0])
    for others in of_each[1:]:
        shared = [both for one, other in _overlapping(shared, others) if (both := _both(one, other))]
    return shared


def _overlapping(
    ones: Sequence[ServiceGap], others: Sequence[ServiceGap]
) -> Iterator[tuple[ServiceGap, ServiceGap]]:
    """Pairs that may overlap; both sides are in order of time and apart from each other."""
    place = 0
    for one in ones:
        while place < len(others) and _end(others[place]) <= one.start_ns:
            place += 1
        for other in islice(others, place, None):
            if other.start_ns >= _end(one):
                break
            yield one, other


def _both(one: ServiceGap, other: ServiceGap) -> ServiceGap | None:
    start = max(one.start_ns, other.start_ns)
    ends = [gap.end_ns for gap in (one, other) if gap.end_ns is not None]
    end = min(ends, default=None)
    return ServiceGap(start, end) if end is None or end > start else None


def _end(gap: ServiceGap) -> float:
    return float("inf") if gap.end_ns is None else gap.end_ns
