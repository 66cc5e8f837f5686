"""Little bandwidth, or few operations, of the member's disk by its cgroup: where no disk layer is under its data.

Limits are of the kernel's I/O controller: ``blkio`` of version 1, ``io`` of version 2. Version 1 counts what the
process itself submits: what it syncs and what it reads, and not what the kernel writes back later on its own. etcd
syncs all that it must not lose. Reads and writes have so much each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service import commands, ioprobe
from agent_service.cgroups import V2
from agent_service.errors import RefusedError, UnavailableError
from agent_service.faults.limits import above, group_name, unit_directory, unit_property
from agent_service.faults.machine_steps import (
    CgroupAbsent,
    CgroupHolds,
    CgroupShows,
    CgroupShowsNot,
    EnterCgroup,
    LeaveCgroup,
    SetCgroup,
    ThrottleFelt,
)
from agent_service.faults.steps import FaultSteps

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext
    from agent_service.models import DiskThrottleFault

LEAST_BYTES: Final = 4096
MOST_BYTES: Final = 128 << 20
MOST_OPERATIONS: Final = 5_000
"""Limits outside of these cannot be shown to be felt: less than a page, or more than most disks do."""

_SLICE_SECONDS: Final = 0.1
"""The kernel lets through at once what a limit allows in such a time."""
_PROBE_SECONDS: Final = 0.3
_CERTAIN: Final = 0.7
"""Of the time that the writes should take: the kernel counts in ticks."""
_BLOCK: Final = 4096


def plan_throttle_by_cgroup(fault_id: str, spec: DiskThrottleFault, host: HostContext) -> FaultSteps:
    """The steps.

    Raises:
        IllegalStateError: no member runs.
        RefusedError: a limit that could not be shown to be felt.
        UnavailableError: nothing here can limit it.
    """
    process = host.running_process()
    if spec.bytes_per_second and not LEAST_BYTES <= spec.bytes_per_second <= MOST_BYTES:
        raise RefusedError(
            f"without a disk layer bandwidth is {LEAST_BYTES} to {MOST_BYTES} bytes a second",
            remedy="ask for that, or start the cluster with disk: fuse",
        )
    if spec.operations_per_second > MOST_OPERATIONS:
        raise RefusedError(
            f"without a disk layer operations are at most {MOST_OPERATIONS} a second",
            remedy="ask for that, or start the cluster with disk: fuse",
        )
    if host.data_dir is None or host.data_disk is None:
        raise UnavailableError(
            "the member's data lie on no disk whose I/O could be limited",
            remedy="start the cluster with disk: fuse",
        )
    if host.machine.supervisor == "systemd":
        return _by_unit(spec, host, host.data_dir, host.data_disk)
    group = above(host, "blkio") / group_name(fault_id)
    limits = _v1_limits(spec, host.data_disk)
    return FaultSteps(
        inject=(
            EnterCgroup(str(group), process.pid, process.start_ticks),
            *(SetCgroup(str(group / name), line) for name, line in limits),
        ),
        verify_injected=(
            CgroupHolds(str(group), process.pid),
            *(CgroupShows(str(group / name), line) for name, line in limits),
            _felt(spec, group, host.data_dir),
        ),
        undo=(
            *(SetCgroup(str(group / name), f"{host.data_disk} 0") for name, _ in limits),
            LeaveCgroup(str(group)),
        ),
        verify_healed=(CgroupAbsent(str(group)),),
    )


def _by_unit(spec: DiskThrottleFault, host: HostContext, data: str, disk: str) -> FaultSteps:
    """By properties of the member's unit, for as long as it runs."""
    legacy = "blkio" in host.machine.cgroups.mounts
    group = unit_directory(host, "blkio" if legacy else V2)
    if legacy:
        if spec.operations_per_second:
            raise UnavailableError(
                "systemd limits no operations a second where cgroup v1 has the I/O controller",
                remedy="ask for bandwidth alone, or start the cluster with disk: fuse",
            )
        shown = _v1_limits(spec, disk)
    else:
        values = (spec.bytes_per_second, spec.bytes_per_second, *(2 * (spec.operations_per_second,)))
        names = ("rbps", "wbps", "riops", "wiops")
        said = " ".join(f"{name}={value or 'max'}" for name, value in zip(names, values, strict=True))
        shown = (("io.max", f"{disk} {said}"),)
    properties = (
        *(("IOReadBandwidthMax", "IOWriteBandwidthMax") if spec.bytes_per_second else ()),
        *(("IOReadIOPSMax", "IOWriteIOPSMax") if spec.operations_per_second else ()),
    )
    limits = {
        name: spec.bytes_per_second if "Bandwidth" in name else spec.operations_per_second
        for name in properties
    }
    return FaultSteps(
        inject=(unit_property(*(f"{name}={data} {value}" for name, value in limits.items())),),
        verify_injected=(
            *(CgroupShows(str(group / name), line) for name, line in shown),
            _felt(spec, group, data),
        ),
        undo=(unit_property(*(f"{name}=" for name in limits)),),
        verify_healed=tuple(CgroupShowsNot(str(group / name), line) for name, line in shown),
    )


def _v1_limits(spec: DiskThrottleFault, disk: str) -> tuple[tuple[str, str], ...]:
    """Files of version 1 and their lines."""
    found = []
    for unit, value in (("bps", spec.bytes_per_second), ("iops", spec.operations_per_second)):
        if value:
            found += [(f"blkio.throttle.{way}_{unit}_device", f"{disk} {value}") for way in ("read", "write")]
    return tuple(found)


def _felt(spec: DiskThrottleFault, group: Path, data: str) -> ThrottleFelt:
    return ThrottleFelt(str(group), data, spec.bytes_per_second, spec.operations_per_second)


# --- is it felt? ------------------------------------------------------------------------------------------------


def writes(check: ThrottleFelt) -> tuple[int, int, float]:
    """What to write to feel it: size, how often, and the seconds that takes at least."""
    bandwidth, operations = check.bytes_per_second, check.operations_per_second
    blocks = max(1, int(bandwidth * _PROBE_SECONDS) // _BLOCK)
    size, count = blocks * _BLOCK, 1
    if operations:
        count = max(2, int(operations * _PROBE_SECONDS))
        # Where both are limited, the tighter one is felt.
        size, count = _BLOCK, min(count, max(2, blocks)) if bandwidth else count
    least = max(
        size * count / bandwidth if bandwidth else 0.0,
        count / operations if operations else 0.0,
    )
    return size, count, (least - _SLICE_SECONDS) * _CERTAIN


async def objection(check: ThrottleFelt) -> str | None:
    """What speaks against the limits' being felt by whoever is in the group; ``None``: they are."""
    size, count, least = writes(check)
    argv = (sys.executable, "-I", "-S", str(Path(ioprobe.__file__)), check.group, check.directory)
    took = float((await commands.check((*argv, str(size), str(count)))).stdout)
    if took >= least:
        return None
    return f"{count} synced writes of {size} bytes took {took:.3f} s from within {check.group}, not {least:.3f} s"
