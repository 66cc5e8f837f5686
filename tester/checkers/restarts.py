"""When a member may have been started anew: it may then be behind what it had shown."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.history.history import History
    from tester.history.table import Columns

_RUNS_ON: Final = frozenset(
    {
        "agent-hang",
        "agent-kill",
        "client-port",
        "cpu-throttle",
        "disk-throttle",
        "freeze",
        "isolate",
        "network",
        "partition",
        "pause",
        "peer-port",
        "slow-fsync",
        "slow-io",
        "wall-clock",
    }
)
"""Faults that leave the process of the member as it is; if it ends all the same, a ``member`` record says so."""

_SCRIPT: Final = "external"
"""A fault of the user's own making: its record names no member."""


def restarts(history: History, member: str) -> tuple[Columns, Columns]:
    """First and last moment of each stretch in which a member may have been started anew; ascending and apart.

    A record of it is written when it is known to have happened, and what undoes it goes on for a while: a stretch
    is as long as the phases that it touches.
    """
    times = [phase.at for phase in history.phases]
    found: list[tuple[int, int]] = []
    for first, last in sorted(_recorded(history, member)):
        place, after = bisect_right(times, first), bisect_right(times, last)
        begin = times[place - 1] if place else first
        end = last if not times else times[after] if after < len(times) else NEVER
        if found and begin <= found[-1][1]:
            begin, end = found[-1][0], max(found.pop()[1], end)
        found.append((begin, end))
    begins, ends = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return begins, ends


def _recorded(history: History, member: str) -> list[tuple[int, int]]:
    """From a fault to its healing, and what befell the process; as recorded."""
    found = [(event.at, event.at) for event in history.member_events if event.m == member]
    held: dict[str, int] = {}
    for fault in history.faults:
        # Whom a script strikes, nobody knows.
        if not (fault.member == member or fault.kind == _SCRIPT) or fault.kind in _RUNS_ON:
            continue
        if fault.state == "injected":
            held[fault.id] = fault.at
        else:
            found.append((held.pop(fault.id, fault.at), fault.at))
    return found + [(at, NEVER) for at in held.values()]
