"""Does what steps on the machine say, and looks whether it is so: the other half of ``execute``."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from agent_service import cgroups, timens
from agent_service.errors import FaultFailedError
from agent_service.faults import orders, throttle
from agent_service.faults.machine import wall_since_boot_ns
from agent_service.faults.machine_steps import (
    AgentReplaced,
    AnotherBoot,
    BringDataBack,
    CallOff,
    CgroupAbsent,
    CgroupHolds,
    CgroupShows,
    CgroupShowsNot,
    CgroupTook,
    ClockIsHosts,
    ClockShifted,
    EnterCgroup,
    ForeseeEnd,
    ForeseeNoEnd,
    LeaveCgroup,
    PathAbsent,
    RestoreClock,
    SetCgroup,
    SetDataAside,
    SetWallClock,
    ShiftClock,
    StoodStill,
    Strike,
    StrikeOrdered,
    ThrottleFelt,
    WallClockIs,
)
from agent_service.processes import ProcessId, boot_id, is_alive

if TYPE_CHECKING:
    from agent_service.faults.machine_steps import Looking, MachineAction, MachineCheck
    from agent_service.member import MemberControl

_WALL_TOLERANCE_NS: Final = 500_000_000


async def act_on_machine(action: MachineAction, member: MemberControl, cause: str) -> str | None:
    """Do one action; returns what was seen that is worth telling.

    Raises:
        AgentServiceError: it could not be done.
    """
    match action:
        case EnterCgroup() | SetCgroup() | LeaveCgroup():
            await asyncio.to_thread(_act_on_cgroup, action)
        case SetWallClock():
            _set_wall_clock(action)
        case Strike():
            await orders.give(Path(action.order), action.what)
        case CallOff():
            orders.call_off(Path(action.order))
        case _:
            return await _act_on_member(action, member, cause)
    return None


def _act_on_cgroup(action: EnterCgroup | SetCgroup | LeaveCgroup) -> None:
    match action:
        case EnterCgroup():
            cgroups.enter(Path(action.directory), ProcessId(action.pid, action.start_ticks, boot_id()))
        case SetCgroup():
            if Path(action.file).parent.is_dir():  # or there is nothing left to undo
                cgroups.write(Path(action.file), action.value)
        case LeaveCgroup():
            cgroups.leave(Path(action.directory))
        case _:
            assert_never(action)


async def _act_on_member(
    action: ForeseeEnd | ForeseeNoEnd | ShiftClock | RestoreClock | SetDataAside | BringDataBack,
    member: MemberControl,
    cause: str,
) -> str | None:
    match action:
        case ForeseeEnd():
            await member.foresee_end(cause, action.signals)
        case ForeseeNoEnd():
            ended = await member.foresee_no_end()
            return f"etcd was ended meanwhile, {ended} times" if ended else None
        case ShiftClock():
            await member.restart(action.grace_seconds, cause, clock_offset_seconds=action.seconds)
        case RestoreClock():
            if member.process is not None and timens.offset_seconds(member.process) is not None:
                await member.restart(action.grace_seconds, cause)
            else:
                await member.recover()
        case SetDataAside():
            await member.set_data_aside(Path(action.directory), Path(action.aside))
        case BringDataBack():
            await member.bring_data_back(Path(action.directory), Path(action.aside))
        case _:
            assert_never(action)
    return None


def _set_wall_clock(action: SetWallClock) -> None:
    if action.boot_id != boot_id():
        return  # the clock of another boot came from elsewhere
    since_boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, since_boot_ns + action.since_boot_ns)
    except OSError as error:
        raise FaultFailedError(f"the wall clock cannot be set: {error.strerror}") from error


async def machine_objection(check: MachineCheck, member: MemberControl) -> str | None:
    """What speaks against it; ``None``: it is so."""
    if isinstance(check, ThrottleFelt):
        return await throttle.objection(check)
    return await asyncio.to_thread(_objection, check, member)


def _objection(check: Looking, member: MemberControl) -> str | None:
    match check:
        case CgroupHolds() | CgroupShows() | CgroupTook() | CgroupShowsNot() | CgroupAbsent():
            return None if _group_is(check) else f"not so: {check}"
        case ClockShifted() | ClockIsHosts():
            return _clock_objection(check, member)
        case PathAbsent():
            return f"{check.path} is there" if os.path.lexists(check.path) else None
        case WallClockIs():
            off_ns = wall_since_boot_ns() - check.since_boot_ns
            right = check.boot_id != boot_id() or abs(off_ns) < _WALL_TOLERANCE_NS
            return None if right else f"the wall clock is {off_ns / 1e9:.3f} s away from where it should be"
        case StrikeOrdered():
            return None if orders.stands(Path(check.order)) else "nobody is there to do it"
        case StoodStill():
            return orders.stood_objection(Path(check.order), check.seconds)
        case AgentReplaced():
            same = is_alive(ProcessId(check.pid, check.start_ticks, boot_id()))
            return f"the agent still is process {check.pid}" if same else None
        case AnotherBoot():
            return "the host has not booted since" if check.boot_id == boot_id() else None
    assert_never(check)


def _group_is(check: CgroupHolds | CgroupShows | CgroupTook | CgroupShowsNot | CgroupAbsent) -> bool:
    match check:
        case CgroupHolds():
            try:
                return check.pid in cgroups.processes(Path(check.directory))
            except OSError:
                return False
        case CgroupShows() | CgroupTook():
            return cgroups.shows(Path(check.file), check.line)
        case CgroupShowsNot():
            return not cgroups.shows(Path(check.file), check.line)
        case CgroupAbsent():
            return not Path(check.directory).exists()
    assert_never(check)


def _clock_objection(check: ClockShifted | ClockIsHosts, member: MemberControl) -> str | None:
    process = member.process
    if process is None:
        return "etcd does not run" if isinstance(check, ClockShifted) else None
    try:
        offset = timens.offset_seconds(process)
    except OSError as error:
        return f"the clock of process {process.pid} cannot be seen: {error.strerror}"
    wanted = check.seconds if isinstance(check, ClockShifted) else None
    if offset == wanted:
        return None
    return f"the monotonic clock of etcd is {offset or 0:+g} s off"
