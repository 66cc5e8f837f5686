"""Ids of faults that somebody healed before they arrived.

A request may be overtaken by the heal that was sent after it, on another connection. That heal finds nothing;
what arrives then must not be injected any more. A request outlives its connection nowhere, and no connection the
agent: memory is enough.
"""

from __future__ import annotations

import time
from typing import Final

from agent_service.models import MAX_LEASE_SECONDS

_MAX: Final = 1000


class Tombstones:
    """Remembers ids for as long as a lease can be, the newest thousand."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def bury(self, fault_id: str) -> None:
        """Nothing of this id is to be injected any more."""
        self._until.pop(fault_id, None)
        self._until[fault_id] = time.monotonic() + MAX_LEASE_SECONDS
        while len(self._until) > _MAX:
            del self._until[next(iter(self._until))]

    def holds(self, fault_id: str) -> bool:
        """Whether it was healed before it came."""
        return self._until.get(fault_id, 0.0) > time.monotonic()
