"""Every fault that a scenario may ask for, by its name in the file."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias, get_args

from pydantic import Field

from tester.scenario.faults.base import FaultSection, Flap, Occupied, Place
from tester.scenario.faults.disk import (
    CorruptFileSection,
    DiskFullSection,
    DiskScope,
    DiskSection,
    DiskThrottleSection,
    IoErrorSection,
    PowerLossSection,
    SlowFsyncSection,
    SlowIoSection,
)
from tester.scenario.faults.failpoint import FailpointSection
from tester.scenario.faults.hosts import (
    AgentHangSection,
    AgentKillSection,
    ClockOffsetSection,
    CpuThrottleSection,
    ExternalSection,
    FreezeSection,
    LoseDataSection,
    MemoryLimitSection,
    PowerOffSection,
    RebootSection,
    WallClockSection,
)
from tester.scenario.faults.network import (
    ClientPortSection,
    Direction,
    IsolateSection,
    PartitionPreset,
    PartitionSection,
    PeerPortSection,
    PortAction,
)
from tester.scenario.faults.process import (
    CrashLoopSection,
    KillSection,
    PauseSection,
    RestartSection,
    RollingRestartSection,
    StopSection,
)
from tester.scenario.faults.quality import NetworkSection

AnyFault: TypeAlias = (
    StopSection
    | KillSection
    | PauseSection
    | RestartSection
    | RollingRestartSection
    | CrashLoopSection
    | IsolateSection
    | PartitionSection
    | ClientPortSection
    | PeerPortSection
    | LoseDataSection
    | FreezeSection
    | CpuThrottleSection
    | MemoryLimitSection
    | ClockOffsetSection
    | WallClockSection
    | RebootSection
    | PowerOffSection
    | AgentKillSection
    | AgentHangSection
    | ExternalSection
    | NetworkSection
    | SlowFsyncSection
    | SlowIoSection
    | IoErrorSection
    | PowerLossSection
    | CorruptFileSection
    | DiskFullSection
    | DiskThrottleSection
    | FailpointSection
)
Fault = Annotated[AnyFault, Field(discriminator="fault")]

FAULTS: Final[dict[str, type[FaultSection]]] = {section.kind(): section for section in get_args(AnyFault)}
"""The sections by name, in the order of the documentation."""

__all__ = [
    "FAULTS",
    "AnyFault",
    "CorruptFileSection",
    "Direction",
    "DiskScope",
    "DiskSection",
    "FailpointSection",
    "Fault",
    "FaultSection",
    "Flap",
    "LoseDataSection",
    "NetworkSection",
    "Occupied",
    "PartitionPreset",
    "PartitionSection",
    "Place",
    "PortAction",
    "PowerOffSection",
]
