"""The wire: faults as requests and states."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    Field,
)

from agent_service.models.basics import (
    LeaseSeconds,
    Name,
    Value,
    Wire,
)
from agent_service.models.diskfaults import (
    CorruptFileFault,
    DiskFullFault,
    DiskThrottleFault,
    IoErrorFault,
    PowerLossFault,
    SlowFsyncFault,
    SlowIoFault,
)
from agent_service.models.machinefaults import (
    AgentHangFault,
    AgentKillFault,
    ClockOffsetFault,
    CpuThrottleFault,
    FreezeFault,
    MemoryLimitFault,
    PowerOffFault,
    RebootFault,
    WallClockFault,
)
from agent_service.models.networkfaults import (
    ClientPortFault,
    IsolateFault,
    NetworkFault,
    PartitionFault,
    PeerPortFault,
)
from agent_service.models.processfaults import (
    CrashLoopFault,
    FailpointFault,
    KillFault,
    LoseDataFault,
    PauseFault,
    RestartFault,
    StopFault,
)

FaultSpec = Annotated[
    StopFault
    | KillFault
    | PauseFault
    | RestartFault
    | CrashLoopFault
    | LoseDataFault
    | FreezeFault
    | CpuThrottleFault
    | MemoryLimitFault
    | ClockOffsetFault
    | WallClockFault
    | RebootFault
    | PowerOffFault
    | AgentKillFault
    | AgentHangFault
    | IsolateFault
    | PartitionFault
    | ClientPortFault
    | PeerPortFault
    | NetworkFault
    | SlowFsyncFault
    | SlowIoFault
    | IoErrorFault
    | PowerLossFault
    | CorruptFileFault
    | DiskFullFault
    | DiskThrottleFault
    | FailpointFault,
    Field(discriminator="kind"),
]


class FaultRequest(Wire):
    """Inject a fault. The same id with the same spec again is the same fault (idempotent)."""

    id: Name
    spec: FaultSpec
    lease_seconds: LeaseSeconds
    """Without renewal the host heals itself after this long on its own monotonic clock."""
    reason: Value
    """For the audit log: run, round and case."""


class RenewRequest(Wire):
    """A new lease for an injected fault, counted from now."""

    lease_seconds: LeaseSeconds


class FaultState(StrEnum):
    """States of a fault, in order."""

    PREPARED = "prepared"
    """The undo is on disk; nothing has been done."""
    INJECTED = "injected"
    """Done, and its effect was verified."""
    HEALING = "healing"
    HEALED = "healed"
    """Undone, and its absence was verified."""
    FAILED = "failed"
    """Injection had no effect; the undo has run."""
    HEAL_FAILED = "heal_failed"
    """The undo failed; it is tried again, and ``evidence`` says why."""


class FaultStatus(Wire):
    """A fault as it is now."""

    id: str
    spec: FaultSpec
    state: FaultState
    reason: str
    undo: tuple[str, ...]
    """The undo steps as a person reads them, in the order in which they run."""
    evidence: str
    """What ``verify`` saw last."""
    injected_monotonic_ns: int | None
    healed_monotonic_ns: int | None
    lease_remaining_seconds: float
    healed_by: (
        Literal[
            "request",
            "somebody-else",
            "lease",
            "agent-start",
            "agent-stop",
            "heal-command",
            "failed-injection",
            "emergency-stop",
        ]
        | None
    )
    """``somebody-else``: when the request came, the effect was gone already, and the agent had not undone it."""


class FaultPlan(Wire):
    """What a fault would do here (``POST /v1/faults/plan``): nothing is touched."""

    inject: tuple[str, ...]
    undo: tuple[str, ...]
