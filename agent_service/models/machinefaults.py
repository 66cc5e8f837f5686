"""The wire: faults on what etcd runs on: processor, memory, clock, host, and the agent itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from agent_service.models.basics import (
    GraceSeconds,
    Wire,
)


class FreezeFault(Wire):
    """Frozen by its cgroup: as a pause, but no signal is sent; healed by thawing."""

    kind: Literal["freeze"] = "freeze"


class CpuThrottleFault(Wire):
    """A part of one CPU for all threads of etcd together; healed by lifting the limit."""

    kind: Literal["cpu-throttle"] = "cpu-throttle"
    percent: Annotated[float, Field(strict=True, ge=1.0, le=100.0)]


class MemoryLimitFault(Wire):
    """At most so much memory, no swap; what needs more is ended by the kernel. Healed by lifting it and a start."""

    kind: Literal["memory-limit"] = "memory-limit"
    limit_bytes: Annotated[int, Field(strict=True, ge=1024**2, le=1024**4)]


class ClockOffsetFault(Wire):
    """A restart in a time namespace whose monotonic clock is off; healed by a restart without."""

    kind: Literal["clock-offset"] = "clock-offset"
    offset_seconds: Annotated[int, Field(strict=True, ge=-(10**8), le=10**8)]
    grace_seconds: GraceSeconds = 10.0


class WallClockFault(Wire):
    """The host's wall clock jumps; healed by setting it as it would be. Only where the clock is the host's own."""

    kind: Literal["wall-clock"] = "wall-clock"
    offset_seconds: Annotated[float, Field(strict=True, ge=-(10.0**8), le=10.0**8)]


class RebootFault(Wire):
    """The host reboots, in order or abruptly; its next boot starts the member as it was."""

    kind: Literal["reboot"] = "reboot"
    abrupt: bool = Field(default=False, strict=True)
    """Nobody is asked to end, and nothing is unmounted."""


class PowerOffFault(Wire):
    """The host goes off, in order or abruptly; whoever switches it on again heals it."""

    kind: Literal["power-off"] = "power-off"
    abrupt: bool = Field(default=False, strict=True)


class AgentKillFault(Wire):
    """SIGKILL to the agent itself; over when its systemd has started it again."""

    kind: Literal["agent-kill"] = "agent-kill"


class AgentHangFault(Wire):
    """SIGSTOP to the agent itself for a time."""

    kind: Literal["agent-hang"] = "agent-hang"
    seconds: Annotated[float, Field(strict=True, ge=1.0, le=300.0)]
