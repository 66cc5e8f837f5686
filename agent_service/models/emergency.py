"""The wire: the emergency stop, and the audit log."""

from __future__ import annotations

from agent_service.models.basics import (
    Value,
    Wire,
)
from agent_service.models.faults import (
    FaultStatus,
)


class EmergencyStopRequest(Wire):
    """Heal everything, and inject nothing any more."""

    reason: Value
    """For whoever meets the stop later."""


class EmergencyStop(Wire):
    """Whether new faults are refused on this host until somebody clears the stop."""

    engaged: bool
    who: str = ""
    reason: str = ""
    since_realtime_ns: int | None = None
    faults: tuple[FaultStatus, ...] = ()
    """In the answer that engages it: every fault that had to be healed, as it is now."""


class AuditEntry(Wire):
    """One line of the host's append-only audit log."""

    realtime_ns: int
    who: str
    """Subject of the client certificate, or ``agent``."""
    what: str
    detail: dict[str, str]
    outcome: str
