"""Faults on the member's disk. All need a cluster with ``disk: fuse``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from agent_service.models import (
    CorruptFileFault,
    DiskFullFault,
    DiskOperation,
    DiskThrottleFault,
    IoErrorFault,
    PowerLossFault,
    SlowFsyncFault,
    SlowIoFault,
)
from tester.scenario.faults.base import FaultSection, Occupied, Wave
from tester.scenario.units import PerSecond, Seconds, SizeBytes

if TYPE_CHECKING:
    from agent_service.models import FaultSpec
    from tester.scenario.faults.base import Place


class DiskScope(StrEnum):
    """Which of etcd's files are meant."""

    WAL = "wal"
    """Those of the write-ahead log."""
    DB = "db"
    SNAP = "snap"
    """The store and its snapshots."""
    ALL = "all"


class CorruptibleFile(StrEnum):
    """Which file is damaged."""

    WAL = "wal"
    DB = "db"
    SNAP = "snap"


class FileDamage(StrEnum):
    """How it is damaged."""

    BIT_FLIP = "bit-flip"
    """One in the middle of the log, one in each meta page of the store, or one anywhere in the snapshot."""
    TRUNCATE = "truncate"
    """Cut off within the last record of the log, or behind the first page of the store."""


class Spread(StrEnum):
    """How ``jitter`` changes a delay."""

    UNIFORM = "uniform"
    """Anything up to so much less or more."""
    NORMAL = "normal"
    """So much is the standard deviation; never three times as far."""
    EXPONENTIAL = "exponential"
    """Only ever more: so much on average, at most three times as much."""


class DiskSection(FaultSection):
    """Base of all."""


Delay = Annotated[Seconds, Field(ge=0.001, le=5)]
Jitter = Annotated[Seconds, Field(le=5)]


class SlowFsyncSection(DiskSection):
    """Syncs take longer."""

    fault: Literal["slow-fsync"] = "slow-fsync"
    occupies: ClassVar = Occupied.DISK_SPEED
    on_agent: ClassVar = "slow-fsync"
    downs: ClassVar = False

    files: DiskScope = Field(default=DiskScope.WAL, description="Of which files.")
    delay: Delay = Field(description="Each takes so much longer.")
    jitter: Jitter = Field(default=0.0, description="By how much that varies.")
    distribution: Spread = Field(default=Spread.UNIFORM, description="How it varies.")

    @property
    def grace_seconds(self) -> float:
        """Its effect is measured."""
        return 3 * (self.delay + 3 * self.jitter)

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The delay."""
        return SlowFsyncFault(
            scope=self.files.value,
            delay_seconds=self.delay,
            jitter_seconds=self.jitter,
            distribution=self.distribution.value,
        )


class SlowIoSection(DiskSection):
    """Reads, writes and syncs take longer."""

    fault: Literal["slow-io"] = "slow-io"
    occupies: ClassVar = Occupied.DISK_SPEED
    on_agent: ClassVar = "slow-io"
    downs: ClassVar = False

    files: DiskScope = Field(default=DiskScope.ALL, description="Of which files.")
    delay: Delay = Field(description="Each takes so much longer.")
    jitter: Jitter = Field(default=0.0, description="By how much that varies.")
    distribution: Spread = Field(default=Spread.UNIFORM, description="How it varies.")

    @property
    def grace_seconds(self) -> float:
        """Its effect is measured."""
        return 3 * (self.delay + 3 * self.jitter)

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The delay."""
        return SlowIoFault(
            scope=self.files.value,
            delay_seconds=self.delay,
            jitter_seconds=self.jitter,
            distribution=self.distribution.value,
        )


class IoErrorSection(DiskSection):
    """Operations fail with EIO. etcd ends itself when it meets that."""

    fault: Literal["io-error"] = "io-error"
    occupies: ClassVar = Occupied.DISK_ERRORS
    on_agent: ClassVar = "io-error"

    files: DiskScope = Field(default=DiskScope.WAL, description="Of which files.")
    operations: tuple[DiskOperation, ...] = Field(
        default=("fsync",), min_length=1, max_length=3, description="Which fail."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The error."""
        return IoErrorFault(scope=self.files.value, operations=self.operations)


class PowerLossSection(DiskSection):
    """SIGKILL to etcd, and what it had not synced is gone."""

    fault: Literal["power-loss"] = "power-loss"
    occupies: ClassVar = Occupied.PROCESS
    # That something is lost is shown by what was written just before: on a disk that takes it.
    also_occupies: ClassVar = frozenset({Occupied.DISK_ERRORS, Occupied.DISK_ROOM})
    on_agent: ClassVar = "power-loss"
    wave: ClassVar = Wave.TAKES

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The loss."""
        return PowerLossFault()


class CorruptFileSection(FaultSection):
    """SIGKILL to etcd, and a damaged file. Healed by a start, with the bytes put back if that fails."""

    fault: Literal["corrupt-file"] = "corrupt-file"
    occupies: ClassVar = Occupied.PROCESS
    # What it damages it must read, and keep; and etcd must start on the disk to be seen to recover or refuse.
    also_occupies: ClassVar = frozenset({Occupied.DISK_ERRORS, Occupied.DISK_ROOM})
    on_agent: ClassVar = "corrupt-file"
    wave: ClassVar = Wave.TAKES

    file: CorruptibleFile = Field(
        default=CorruptibleFile.WAL, description="The newest of the log, the store, or the newest snapshot."
    )
    damage: FileDamage = Field(default=FileDamage.BIT_FLIP, description="What is done to it.")

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The damage."""
        return CorruptFileFault(file=self.file.value, damage=self.damage.value)


class DiskFullSection(DiskSection):
    """The member's file system, and no other, is full. etcd ends itself when it needs room."""

    fault: Literal["disk-full"] = "disk-full"
    occupies: ClassVar = Occupied.DISK_ROOM
    on_agent: ClassVar = "disk-full"

    room: SizeBytes | None = Field(
        default=None, description="How much may still be written; default: nothing."
    )

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The end of room."""
        return DiskFullFault(room_bytes=self.room or 0)


class DiskThrottleSection(FaultSection):
    """Reads and writes share so much a second; without a disk layer they have so much each."""

    fault: Literal["disk-throttle"] = "disk-throttle"
    occupies: ClassVar = Occupied.DISK_SPEED
    on_agent: ClassVar = "disk-throttle"
    downs: ClassVar = False

    bandwidth: SizeBytes | None = Field(
        default=None, description="Read and written a second; default: no limit."
    )
    operations: PerSecond | None = Field(default=None, ge=1, description="Default: no limit.")

    @model_validator(mode="after")
    def _limits_something(self) -> DiskThrottleSection:
        if self.bandwidth is None and self.operations is None:
            raise ValueError("a throttle needs bandwidth, operations or both")
        return self

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The limits."""
        return DiskThrottleFault(
            bytes_per_second=self.bandwidth or 0, operations_per_second=int(self.operations or 0)
        )
