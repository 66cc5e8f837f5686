"""Faults on clocks: the monotonic one of the member alone, the wall clock of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.errors import RefusedError
from agent_service.faults.machine_steps import (
    ClockIsHosts,
    ClockShifted,
    RestoreClock,
    SetWallClock,
    ShiftClock,
    WallClockIs,
)
from agent_service.faults.steps import FaultSteps, MemberRuns, ProcessGone

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext
    from agent_service.models import ClockOffsetFault, WallClockFault

_NS: Final = 1_000_000_000


def plan_clock_offset(_fault_id: str, spec: ClockOffsetFault, host: HostContext) -> FaultSteps:
    """The member starts anew in a time namespace, and anew without.

    Raises:
        IllegalStateError: no member runs.
        RefusedError: its clock would be before the host's start, which the kernel does not do.
    """
    process = host.running_process()
    if host.machine.monotonic_seconds + spec.offset_seconds < 1:
        raise RefusedError(
            f"the host is up for {host.machine.monotonic_seconds:.0f} s: no clock goes back further",
            remedy="choose a smaller offset, or one ahead",
        )
    return FaultSteps(
        inject=(ShiftClock(spec.offset_seconds, spec.grace_seconds),),
        verify_injected=(ProcessGone(process.pid, process.start_ticks), ClockShifted(spec.offset_seconds)),
        undo=(RestoreClock(spec.grace_seconds),),
        verify_healed=(ClockIsHosts(), MemberRuns()),
    )


def plan_wall_clock(_fault_id: str, spec: WallClockFault, host: HostContext) -> FaultSteps:
    """The wall clock jumps. Whoever keeps it right must be stopped before, or the jump does not last."""
    machine = host.machine
    off_ns = machine.since_boot_ns + round(spec.offset_seconds * _NS)
    return FaultSteps(
        inject=(SetWallClock(machine.boot_id, off_ns),),
        verify_injected=(WallClockIs(machine.boot_id, off_ns),),
        undo=(SetWallClock(machine.boot_id, machine.since_boot_ns),),
        verify_healed=(WallClockIs(machine.boot_id, machine.since_boot_ns),),
    )
