"""Faults on what a member lives on: what it may use, its clock, its data, its agent, its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from agent_service.models import (
    AgentHangFault,
    AgentKillFault,
    ClockOffsetFault,
    CpuThrottleFault,
    FreezeFault,
    LoseDataFault,
    MemoryLimitFault,
    PowerOffFault,
    RebootFault,
    WallClockFault,
)
from tester.scenario.faults.base import FaultSection, Occupied, Wave
from tester.scenario.units import Seconds, SignedSeconds, SizeBytes

if TYPE_CHECKING:
    from agent_service.models import FaultSpec
    from tester.scenario.faults.base import Place


class LoseDataSection(FaultSection):
    """SIGQUIT to etcd, and its data are gone; with them the layer below that a fault on the disk lives in."""

    fault: Literal["lose-data"] = "lose-data"
    occupies: ClassVar = Occupied.PROCESS
    also_occupies: ClassVar = frozenset({Occupied.DISK_SPEED, Occupied.DISK_ERRORS, Occupied.DISK_ROOM})
    on_agent: ClassVar = "lose-data"
    wave: ClassVar = Wave.TAKES

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The loss."""
        return LoseDataFault()


class FreezeSection(FaultSection):
    """The freezer of cgroups."""

    fault: Literal["freeze"] = "freeze"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "freeze"
    wave: ClassVar = Wave.TAKES

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The freezing."""
        return FreezeFault()


class CpuThrottleSection(FaultSection):
    """A part of one CPU."""

    fault: Literal["cpu-throttle"] = "cpu-throttle"
    occupies: ClassVar = Occupied.CPU
    on_agent: ClassVar = "cpu-throttle"
    downs: ClassVar = False

    percent: float = Field(
        default=10.0, ge=1, le=100, description="Of one CPU, all threads of etcd together."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The quota."""
        return CpuThrottleFault(percent=float(self.percent))


class MemoryLimitSection(FaultSection):
    """Little memory; the kernel may end etcd for it."""

    fault: Literal["memory-limit"] = "memory-limit"
    occupies: ClassVar = Occupied.MEMORY
    on_agent: ClassVar = "memory-limit"

    limit: SizeBytes = Field(
        default=64 * 1024**2, ge=1024**2, description="What etcd may have, without swap."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The limit."""
        return MemoryLimitFault(limit_bytes=self.limit)


class ClockOffsetSection(FaultSection):
    """A restart with another monotonic clock."""

    fault: Literal["clock-offset"] = "clock-offset"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "clock-offset"
    wave: ClassVar = Wave.RESTARTS

    offset: SignedSeconds = Field(
        default=3600.0,
        multiple_of=1,
        description="How far etcd's monotonic clock is ahead, or behind with a minus.",
    )
    grace: Seconds = Field(
        default=10.0, le=300, description="For each of the two restarts: SIGKILL after this."
    )

    @property
    def grace_seconds(self) -> float:
        """How long etcd may take to end."""
        return self.grace

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The offset."""
        return ClockOffsetFault(offset_seconds=int(self.offset), grace_seconds=self.grace)


class WallClockSection(FaultSection):
    """The host's wall clock jumps."""

    fault: Literal["wall-clock"] = "wall-clock"
    occupies: ClassVar = Occupied.WALL_CLOCK
    on_agent: ClassVar = "wall-clock"
    downs: ClassVar = False

    offset: SignedSeconds = Field(default=3600.0, description="How far it jumps ahead, or back with a minus.")

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The jump."""
        return WallClockFault(offset_seconds=self.offset)


class BlowSection(FaultSection):
    """What ends the agent or its host: nobody holds it by a lease, and it is over when they are back."""

    wave: ClassVar = Wave.STRIKES

    back: Seconds = Field(default=120.0, ge=5, le=1800, description="Within this the agent must be back.")


class RebootSection(BlowSection):
    """The host reboots."""

    fault: Literal["reboot"] = "reboot"
    occupies: ClassVar = Occupied.HOST
    on_agent: ClassVar = "reboot"

    abrupt: bool = Field(
        default=False, strict=True, description="Nobody is asked to end, nothing is unmounted."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The reboot."""
        return RebootFault(abrupt=self.abrupt)


class PowerOffSection(BlowSection):
    """The host is off until the controller switches it on."""

    fault: Literal["power-off"] = "power-off"
    occupies: ClassVar = Occupied.HOST
    on_agent: ClassVar = "power-off"

    abrupt: bool = Field(
        default=False, strict=True, description="Nobody is asked to end, nothing is unmounted."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The end."""
        return PowerOffFault(abrupt=self.abrupt)


class AgentKillSection(BlowSection):
    """SIGKILL to the agent."""

    fault: Literal["agent-kill"] = "agent-kill"
    occupies: ClassVar = Occupied.AGENT
    on_agent: ClassVar = "agent-kill"
    downs: ClassVar = False

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The kill."""
        return AgentKillFault()


class AgentHangSection(BlowSection):
    """SIGSTOP to the agent, for a time."""

    fault: Literal["agent-hang"] = "agent-hang"
    occupies: ClassVar = Occupied.AGENT
    on_agent: ClassVar = "agent-hang"
    downs: ClassVar = False

    hang: Seconds = Field(default=5.0, ge=2, le=300, description="How long it stands still.")

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The hang."""
        return AgentHangFault(seconds=self.hang)


class ExternalSection(FaultSection):
    """A script of the user's, on the controller."""

    fault: Literal["external"] = "external"
    occupies: ClassVar = Occupied.NOTHING
    on_agent: ClassVar = None
    downs: ClassVar = False

    script: str = Field(
        min_length=1,
        max_length=1024,
        description="Called as `SCRIPT enable ROUND` and `SCRIPT disable ROUND`.",
    )
    timeout: Seconds = Field(default=60.0, ge=1, le=3600, description="For each of the two calls.")
