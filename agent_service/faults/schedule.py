"""When the agent heals by itself: leases that run out, and undos that failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from agent_service.faults.journal import NS
from agent_service.models import FaultState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.faults.journal import Entry

_MAX_RETRY_SECONDS: Final = 60.0


def retry_delay_seconds(attempts: int) -> float:
    """How long to wait after so many undos that failed: 1, 2, 4 … 60 s."""
    return float(min(_MAX_RETRY_SECONDS, 2.0 ** min(attempts - 1, 10)))


class HealSchedule:
    """Knows how often the undo of each fault failed. Times are CLOCK_MONOTONIC in nanoseconds."""

    def __init__(self) -> None:
        self._attempts: dict[str, int] = {}
        self._retry_at: dict[str, int] = {}

    def failed(self, fault_id: str) -> float:
        """An undo failed; returns the seconds until the next try."""
        attempts = self._attempts[fault_id] = self._attempts.get(fault_id, 0) + 1
        delay = retry_delay_seconds(attempts)
        self._retry_at[fault_id] = time.monotonic_ns() + int(delay * NS)
        return delay

    def healed(self, fault_id: str) -> None:
        """It is over."""
        self._attempts.pop(fault_id, None)
        self._retry_at.pop(fault_id, None)

    def due_ns(self, entry: Entry) -> int | None:
        """When the agent will heal this fault by itself; ``None``: nothing to heal, or somebody does."""
        if entry.state is FaultState.INJECTED:
            return entry.expires_monotonic_ns
        if entry.state is FaultState.HEAL_FAILED:
            return self._retry_at.get(entry.id, 0)
        return None

    def is_due(self, entry: Entry) -> bool:
        """Whether to heal it now."""
        due = self.due_ns(entry)
        return due is not None and due <= time.monotonic_ns()

    def seconds_until_due(self, entries: Iterable[Entry]) -> float | None:
        """Until the next of these is due; ``None``: never."""
        dues = [due for entry in entries if (due := self.due_ns(entry)) is not None]
        return max(0.0, (min(dues) - time.monotonic_ns()) / NS) if dues else None
