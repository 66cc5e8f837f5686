"""What a host's monotonic clock has to do with the run clock, as bounds that hold. Pure.

An exchange asks for a reading: the run clock said ``asked`` before, ``answered`` after, so the reading was taken in
between. Away from an exchange the two clocks may drift apart, by so much a second and no more (``MAX_DRIFT``). All
exchanges before and after a moment bound its time on the run clock from both sides. Bounds that contradict each
other prove that the clock jumped, or that the host stood still: then no time of that stretch is evidence.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

MAX_DRIFT: Final = Fraction(1, 1000)
"""Of one clock against the other. Linux slews CLOCK_MONOTONIC by at most 500 ppm, on either machine; crystals are
off by some tens."""
_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class Exchange:
    """One reading of a host's clock, between two of the run clock; nanoseconds."""

    asked: int
    host: int
    answered: int

    @property
    def round_trip(self) -> int:
        """How long it took, on the run clock."""
        return self.answered - self.asked


@dataclass(frozen=True, slots=True)
class Bounds:
    """When something was at the earliest and at the latest, on the run clock."""

    earliest: int
    latest: int

    @property
    def error(self) -> int:
        """Half of what is between them, in nanoseconds."""
        return (self.latest - self.earliest + 1) // 2


class ClockLostError(Exception):
    """Exchanges contradict each other: the message says by how much."""


class HostClock:
    """Takes exchanges in order of time; answers for moments between the first and the last of them."""

    def __init__(self) -> None:
        self._hosts: list[int] = []
        self._bounds: list[Bounds] = []

    def add(self, exchange: Exchange) -> None:
        """One more. After an error the earlier ones count no more.

        Raises:
            ClockLostError: it contradicts the earlier ones.
        """
        bounds = Bounds(exchange.asked, exchange.answered)
        if not self._hosts:
            self._keep(exchange.host, bounds)
            return
        since = exchange.host - self._hosts[-1]
        known = self._bounds[-1]
        least, most = _elapsed(max(since, 0))
        narrowed = Bounds(
            max(bounds.earliest, known.earliest + least), min(bounds.latest, known.latest + most)
        )
        if since < 0 or narrowed.earliest > narrowed.latest:
            self._hosts.clear()
            self._bounds.clear()
            self._keep(exchange.host, bounds)
            if since < 0:
                raise ClockLostError(f"it went back by {-since / 1e9:.6f} s")
            if bounds.latest < known.earliest + least:
                ahead = known.earliest + least - bounds.latest
                raise ClockLostError(f"it is at least {ahead / 1e9:.6f} s ahead of where it may be")
            behind = bounds.earliest - known.latest - most
            raise ClockLostError(
                f"it is at least {behind / 1e9:.6f} s behind: the host was suspended, or its clock stood still"
            )
        self._keep(exchange.host, narrowed)

    def as_of_now(self) -> HostClock:
        """A copy, for another thread: exchanges go on meanwhile, of whoever else is on that host."""
        copy = HostClock()
        copy._hosts, copy._bounds = self._hosts.copy(), self._bounds.copy()
        return copy

    def on_run_clock(self, host: int) -> Bounds:
        """When the host's clock said this. Beyond the first and the last exchange the bounds grow with the distance.

        Raises:
            ValueError: no exchange was taken yet.
        """
        if not self._hosts:
            raise ValueError("no exchange was taken yet")
        after = bisect.bisect_left(self._hosts, host)
        earliest: list[int] = []
        latest: list[int] = []
        if after > 0:
            known = self._bounds[after - 1]
            least, most = _elapsed(host - self._hosts[after - 1])
            earliest.append(known.earliest + least)
            latest.append(known.latest + most)
        if after < len(self._hosts):
            known = self._bounds[after]
            least, most = _elapsed(self._hosts[after] - host)
            earliest.append(known.earliest - most)
            latest.append(known.latest - least)
        return Bounds(max(earliest), min(latest))

    def now(self) -> tuple[int, int]:
        """Offset (host clock less run clock) and its error, at the last exchange; nanoseconds.

        Raises:
            ValueError: no exchange was taken yet.
        """
        if not self._hosts:
            raise ValueError("no exchange was taken yet")
        bounds = self._bounds[-1]
        return self._hosts[-1] - (bounds.earliest + bounds.latest) // 2, bounds.error

    def _keep(self, host: int, bounds: Bounds) -> None:
        if self._hosts and host == self._hosts[-1]:
            self._bounds[-1] = bounds
            return
        self._hosts.append(host)
        self._bounds.append(bounds)
        if len(self._hosts) > _KEPT:
            del self._hosts[: _KEPT // 2], self._bounds[: _KEPT // 2]


def _elapsed(host_ns: int) -> tuple[int, int]:
    """How much of the run clock goes by, at least and at most, while so much of a host's does; not negative."""
    drift = (host_ns * MAX_DRIFT.numerator) // MAX_DRIFT.denominator + 1
    return max(0, host_ns - drift), host_ns + drift


def best(exchanges: list[Exchange]) -> Exchange:
    """Of some taken right after each other, the one that says most: with the shortest round trip."""
    return min(exchanges, key=lambda one: one.round_trip)
