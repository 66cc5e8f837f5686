"""When a cluster may be late with the end of a lease although it is right."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.history.history import History

GRACE_NS = 10_000_000_000
"""Beyond a lease's time, for the leader to see that it is over and a quorum to agree on it."""
_OBSERVED_NS = 2_000_000_000
"""Leaders are observed: what the history says may be so much late."""


@dataclass(frozen=True)
class Disturbances:
    """Stretches of time with a fault, without a leader, or with a change of leaders; by their start."""

    stretches: tuple[tuple[int, int], ...]
    leaders_known: bool
    """Whether somebody watched for leaders at all."""

    def overlap(self, start: int, end: int) -> bool:
        """Whether anything happened between two times, or shortly before."""
        begun = bisect_right(self._starts, end)
        return begun > 0 and start - _OBSERVED_NS <= self._last[begun - 1]

    def latest_end(self, expiry: int, ttl_ns: int) -> int:
        """The latest moment at which a lease can end that runs out at ``expiry`` unless disturbed.

        Each new leader gives every lease its whole time again; without a leader, or while a fault is on,
        none may end at all.
        """
        latest = expiry
        while reached := bisect_right(self._starts, latest + GRACE_NS):
            if (longer := max(latest, self._last[reached - 1] + ttl_ns)) == latest:
                break
            latest = longer
        return min(latest + GRACE_NS, NEVER)

    @cached_property
    def _starts(self) -> list[int]:
        return [first for first, _ in self.stretches]

    @cached_property
    def _last(self) -> list[int]:
        """Of each stretch and those that start before it, the latest end."""
        return list(accumulate((last for _, last in self.stretches), max))


def disturbances_of(history: History) -> Disturbances:
    """From faults and leaders of a history."""
    stretches: list[tuple[int, int]] = []
    injected: dict[str, int] = {}
    for fault in history.faults:
        if fault.state == "injected":
            injected.setdefault(f"{fault.id} {fault.member}", fault.at)
        elif (start := injected.pop(f"{fault.id} {fault.member}", None)) is not None:
            stretches.append((start - _OBSERVED_NS, fault.at))
    stretches += [(start, NEVER) for start in injected.values()]
    leaderless: int | None = None
    for number, leader in enumerate(history.leaders):
        if not leader.m:
            leaderless = leader.at if leaderless is None else leaderless
        elif number:  # the first tells who led all along
            stretches.append((leader.at - _OBSERVED_NS if leaderless is None else leaderless, leader.at))
            leaderless = None
    if leaderless is not None:
        stretches.append((leaderless, NEVER))
    return Disturbances(tuple(sorted(stretches)), bool(history.leaders))
