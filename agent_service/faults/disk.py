"""Faults on the member's disk, by the layer under its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from agent_service.disk.messages import Delay, Fail, Full, Throttle
from agent_service.faults.disksteps import (
    DamageFile,
    DiskPowered,
    DiskRuleFelt,
    DiskRuleGone,
    DropDiskRule,
    ExcuseEnd,
    ExcuseNothing,
    FileDamaged,
    LoseMemberPower,
    MarkerLost,
    NoDamage,
    PutBack,
    RestoreMemberPower,
    SetDiskRule,
    StartOnDamage,
    WriteMarkers,
)
from agent_service.faults.steps import EnsureMemberRunning, FaultSteps, KillMember, MemberRuns, ProcessGone
from agent_service.faults.throttle import plan_throttle_by_cgroup
from agent_service.models import (
    CorruptFileFault,
    DiskFullFault,
    DiskThrottleFault,
    IoErrorFault,
    PowerLossFault,
    SlowFsyncFault,
    SlowIoFault,
)

if TYPE_CHECKING:
    from agent_service.disk.messages import AnyRule, Operation
    from agent_service.faults.base import HostContext

DiskFault: TypeAlias = (
    SlowFsyncFault
    | SlowIoFault
    | IoErrorFault
    | PowerLossFault
    | CorruptFileFault
    | DiskFullFault
    | DiskThrottleFault
)

_RECOVERS: Final = frozenset({("wal", "truncate"), ("snap", "bit-flip"), ("snap", "truncate")})
"""A log that ends within a record is what a crash leaves: etcd cuts the rest off. A snapshot that it cannot read
it sets aside, and goes on from an older one or from the log. All else it must not accept."""


def plan_disk(fault_id: str, spec: DiskFault, host: HostContext) -> FaultSteps:
    """The steps of a fault on the disk.

    Raises:
        IllegalStateError: there is no layer under the member's data, or no member that runs.
    """
    match spec:
        case SlowFsyncFault() | SlowIoFault():
            return plan_slow(fault_id, spec, host)
        case DiskThrottleFault():
            return plan_throttle(fault_id, spec, host)
        case IoErrorFault():
            return plan_io_error(fault_id, spec, host)
        case DiskFullFault():
            return plan_disk_full(fault_id, spec, host)
        case PowerLossFault():
            return plan_power_loss(fault_id, spec, host)
        case CorruptFileFault():
            return plan_corrupt_file(fault_id, spec, host)
    assert_never(spec)


def plan_slow(fault_id: str, spec: SlowFsyncFault | SlowIoFault, host: HostContext) -> FaultSteps:
    """Operations take longer."""
    operations: tuple[Operation, ...] = ("fsync",)
    if spec.kind == "slow-io":
        operations = ("read", "write", "fsync")
    delay = Delay(spec.scope, operations, spec.delay_seconds, spec.jitter_seconds, spec.distribution)
    return _slower(fault_id, delay, host)


def plan_throttle(fault_id: str, spec: DiskThrottleFault, host: HostContext) -> FaultSteps:
    """Operations share so much a second; without a layer, reads and writes each have so much."""
    if not host.disk_layer:
        return plan_throttle_by_cgroup(fault_id, spec, host)
    return _slower(fault_id, Throttle(spec.bytes_per_second, spec.operations_per_second), host)


def _slower(fault_id: str, rule: AnyRule, host: HostContext) -> FaultSteps:
    host.need_disk_layer()
    return FaultSteps(
        inject=(SetDiskRule(fault_id, rule),),
        verify_injected=(DiskRuleFelt(fault_id, rule),),
        undo=(DropDiskRule(fault_id),),
        verify_healed=(DiskRuleGone(fault_id),),
    )


def plan_io_error(fault_id: str, spec: IoErrorFault, host: HostContext) -> FaultSteps:
    """Operations fail; etcd ends itself when it meets that."""
    return _failing(fault_id, Fail(spec.scope, spec.operations), host)


def plan_disk_full(fault_id: str, spec: DiskFullFault, host: HostContext) -> FaultSteps:
    """No room; etcd ends itself when it needs some."""
    return _failing(fault_id, Full(spec.room_bytes), host)


def _failing(fault_id: str, rule: AnyRule, host: HostContext) -> FaultSteps:
    host.need_disk_layer()
    host.running_process()
    return FaultSteps(
        inject=(ExcuseEnd(f"fault {fault_id}"), SetDiskRule(fault_id, rule)),
        verify_injected=(DiskRuleFelt(fault_id, rule),),
        undo=(DropDiskRule(fault_id), EnsureMemberRunning(), ExcuseNothing()),
        verify_healed=(DiskRuleGone(fault_id), MemberRuns()),
    )


def plan_power_loss(_fault_id: str, _spec: PowerLossFault, host: HostContext) -> FaultSteps:
    """SIGKILL, and what was not synced is gone; healed by a start."""
    host.need_disk_layer()
    process = host.running_process()
    return FaultSteps(
        inject=(WriteMarkers(), LoseMemberPower()),
        verify_injected=(ProcessGone(process.pid, process.start_ticks), MarkerLost()),
        undo=(RestoreMemberPower(), EnsureMemberRunning()),
        verify_healed=(DiskPowered(), MemberRuns()),
    )


def plan_corrupt_file(fault_id: str, spec: CorruptFileFault, host: HostContext) -> FaultSteps:
    """SIGKILL and a damaged file; at the start that heals, etcd recovers, or refuses and gets its bytes back."""
    process = host.running_process()
    expected = "recover" if (spec.file, spec.damage) in _RECOVERS else "refuse"
    return FaultSteps(
        inject=(
            KillMember(),
            ExcuseEnd(f"fault {fault_id}"),
            DamageFile(fault_id, spec.file, spec.damage, spec.seed, expected),
        ),
        verify_injected=(ProcessGone(process.pid, process.start_ticks), FileDamaged(fault_id)),
        undo=(StartOnDamage(fault_id), PutBack(fault_id), EnsureMemberRunning(), ExcuseNothing()),
        verify_healed=(NoDamage(fault_id), MemberRuns()),
    )
