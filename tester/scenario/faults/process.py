"""Faults on etcd's process."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from agent_service.models import CrashLoopFault, KillFault, PauseFault, RestartFault, StopFault
from tester.scenario.faults.base import FaultSection, Occupied, Wave
from tester.scenario.units import Seconds

if TYPE_CHECKING:
    from agent_service.models import FaultSpec
    from tester.scenario.faults.base import Place


class Signal(StrEnum):
    """By which signal etcd ends."""

    KILL = "SIGKILL"
    QUIT = "SIGQUIT"


class _WithGrace(FaultSection):
    grace: Seconds = Field(default=10.0, le=300, description="SIGKILL after this.")

    @property
    def grace_seconds(self) -> float:
        """How long etcd may take to end."""
        return self.grace


class StopSection(_WithGrace):
    """SIGTERM to etcd."""

    fault: Literal["stop"] = "stop"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "stop"
    wave: ClassVar = Wave.TAKES

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The stop."""
        return StopFault(grace_seconds=self.grace)


class KillSection(FaultSection):
    """SIGKILL or SIGQUIT to etcd."""

    fault: Literal["kill"] = "kill"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "kill"
    wave: ClassVar = Wave.TAKES

    signal: Signal = Field(
        default=Signal.KILL, description="SIGQUIT leaves every goroutine's stack in the log."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The kill."""
        return KillFault(signal=self.signal.value)


class PauseSection(FaultSection):
    """SIGSTOP to etcd."""

    fault: Literal["pause"] = "pause"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "pause"
    wave: ClassVar = Wave.TAKES

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The pause."""
        return PauseFault()


class RestartSection(_WithGrace):
    """A stop and a start at once."""

    fault: Literal["restart"] = "restart"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "restart"
    wave: ClassVar = Wave.RESTARTS

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The restart."""
        return RestartFault(grace_seconds=self.grace)


class RollingRestartSection(_WithGrace):
    """One member after the other is restarted, each when the cluster is whole again."""

    fault: Literal["rolling-restart"] = "rolling-restart"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "restart"
    wave: ClassVar = Wave.RESTARTS
    one_at_a_time: ClassVar = True

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The restart of one of them."""
        return RestartFault(grace_seconds=self.grace)


class CrashLoopSection(FaultSection):
    """SIGKILL and a start, again and again."""

    fault: Literal["crash-loop"] = "crash-loop"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "crash-loop"
    wave: ClassVar = Wave.RESTARTS

    every: Seconds = Field(default=5.0, ge=0.5, le=300, description="Killed again after this.")

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The loop."""
        return CrashLoopFault(every_seconds=self.every)
