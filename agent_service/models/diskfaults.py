"""The wire: faults on the member's disk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from agent_service.models.basics import (
    Wire,
)

IoDelaySeconds = Annotated[float, Field(strict=True, ge=0.001, le=5.0)]
IoJitterSeconds = Annotated[float, Field(strict=True, ge=0.0, le=5.0)]
DiskScope = Literal["wal", "db", "all"]
"""Files of the write-ahead log; those of the store, its snapshots among them; everything."""
DiskOperation = Literal["read", "write", "fsync"]


class SlowFsyncFault(Wire):
    """Syncs take longer; healed by the layer's doing without."""

    kind: Literal["slow-fsync"] = "slow-fsync"
    scope: DiskScope = "wal"
    delay_seconds: IoDelaySeconds
    jitter_seconds: IoJitterSeconds = 0.0
    distribution: Literal["uniform", "normal", "exponential"] = "uniform"
    """``jitter_seconds`` is half a width, a standard deviation, or a mean that is added."""


class SlowIoFault(Wire):
    """Reads, writes and syncs take longer; healed as ``slow-fsync``."""

    kind: Literal["slow-io"] = "slow-io"
    scope: DiskScope = "all"
    delay_seconds: IoDelaySeconds
    jitter_seconds: IoJitterSeconds = 0.0
    distribution: Literal["uniform", "normal", "exponential"] = "uniform"


class IoErrorFault(Wire):
    """Operations fail with EIO; healed by the layer's doing without, and by starting the member if it ended."""

    kind: Literal["io-error"] = "io-error"
    scope: DiskScope = "wal"
    operations: tuple[DiskOperation, ...] = Field(default=("fsync",), min_length=1, max_length=3)


class PowerLossFault(Wire):
    """The member is killed, and what it had not synced is gone; healed by starting it."""

    kind: Literal["power-loss"] = "power-loss"


class CorruptFileFault(Wire):
    """The member is killed and a file of it damaged; healed by a start, with the bytes put back if that fails."""

    kind: Literal["corrupt-file"] = "corrupt-file"
    file: Literal["wal", "db", "snap"]
    """The newest file of the log, the store, or the newest snapshot of what is not in the store."""
    damage: Literal["bit-flip", "truncate"]
    seed: Annotated[int, Field(strict=True, ge=0, lt=1 << 63)] = 0
    """Where in the log or the snapshot a bit is flipped."""


class DiskFullFault(Wire):
    """The member's file system, and no other, is full; healed by making room, and starting it if it ended."""

    kind: Literal["disk-full"] = "disk-full"
    room_bytes: Annotated[int, Field(strict=True, ge=0, le=1 << 40)] = 0
    """How much may still be written."""


class DiskThrottleFault(Wire):
    """Reads and writes share so much a second; 0 is no limit, and one of the two is needed.

    Without a disk layer it is done by the member's cgroup, and reads and writes have so much each.
    """

    kind: Literal["disk-throttle"] = "disk-throttle"
    bytes_per_second: Annotated[int, Field(strict=True, ge=0, le=1 << 40)] = 0
    operations_per_second: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0

    @model_validator(mode="after")
    def _limits_something(self) -> DiskThrottleFault:
        if not self.bytes_per_second and not self.operations_per_second:
            raise ValueError("a throttle needs bytes_per_second, operations_per_second or both")
        return self
