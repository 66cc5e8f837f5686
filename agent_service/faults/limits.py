"""Faults on what the member may use: frozen, with little CPU, with little memory.

Under systemd CPU and memory are runtime properties of the member's own unit, which any version of cgroups knows.
What systemd cannot do (freezing where v1 is mounted, too) or does not hold (the ``process`` supervisor) is done in
the files of the member's own unit, or in a cgroup that the fault makes, names after itself and removes.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from agent_service.cgroups import V2
from agent_service.errors import UnavailableError
from agent_service.faults.machine_steps import (
    CgroupAbsent,
    CgroupHolds,
    CgroupShows,
    CgroupShowsNot,
    CgroupTook,
    EnterCgroup,
    ForeseeEnd,
    ForeseeNoEnd,
    LeaveCgroup,
    SetCgroup,
)
from agent_service.faults.steps import EnsureMemberRunning, Exec, FaultSteps, MemberRuns
from agent_service.supervisor.systemd import UNIT

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.faults.base import HostContext
    from agent_service.faults.steps import Action, Check
    from agent_service.models import CpuThrottleFault, FreezeFault, MemoryLimitFault
    from agent_service.processes import ProcessId

_PERIOD_US: Final = 100_000
_PAGE_BYTES: Final = 4096


def plan_freeze(fault_id: str, _spec: FreezeFault, host: HostContext) -> FaultSteps:
    """The freezer: no signal, nothing that the member could see.

    Raises:
        IllegalStateError: no member runs.
        UnavailableError: there is no cgroup to freeze.
    """
    process, member = host.running_process(), host.machine.cgroups.member
    own = member.get(V2)
    if own is not None and own.name == UNIT:
        file = own / "cgroup.freeze"
        return FaultSteps(
            inject=(SetCgroup(str(file), "1"),),
            verify_injected=(CgroupShows(str(own / "cgroup.events"), "frozen 1"),),
            undo=(SetCgroup(str(file), "0"),),
            verify_healed=(CgroupShowsNot(str(own / "cgroup.events"), "frozen 1"),),
        )
    if own is not None:
        return _in_own_group(
            own / group_name(fault_id), process, ("cgroup.freeze", "1", "0"), "cgroup.events", "frozen 1"
        )
    own = above(host, "freezer")
    state = "freezer.state"
    return _in_own_group(own / group_name(fault_id), process, (state, "FROZEN", "THAWED"), state, "FROZEN")


def plan_cpu(fault_id: str, spec: CpuThrottleFault, host: HostContext) -> FaultSteps:
    """A part of one CPU, for all threads together.

    Raises:
        IllegalStateError: no member runs.
        UnavailableError: nothing here can limit it.
    """
    process = host.running_process()
    quota_us = round(_PERIOD_US * spec.percent / 100)
    if host.machine.supervisor == "systemd":
        file, line = _unit_file(
            host, "cpu", ("cpu.max", f"{quota_us} {_PERIOD_US}"), ("cpu.cfs_quota_us", quota_us)
        )
        return FaultSteps(
            inject=(unit_property(f"CPUQuota={spec.percent:g}%"),),
            verify_injected=(CgroupShows(file, line),),
            undo=(unit_property("CPUQuota="),),
            verify_healed=(CgroupShowsNot(file, line),),
        )
    return _in_own_group(
        above(host, "cpu") / group_name(fault_id),
        process,
        ("cpu.cfs_quota_us", str(quota_us), "-1"),
        "cpu.cfs_quota_us",
        str(quota_us),
    )


def plan_memory(fault_id: str, spec: MemoryLimitFault, host: HostContext) -> FaultSteps:
    """At most so much memory; what needs more is ended by the kernel, and started again by the undo.

    Raises:
        IllegalStateError: no member runs.
        UnavailableError: nothing here can limit it.
    """
    process = host.running_process()
    limit = spec.limit_bytes // _PAGE_BYTES * _PAGE_BYTES
    do: tuple[Action, ...]
    seen: tuple[Check, ...]
    lift: tuple[Action, ...]
    gone: Check
    if host.machine.supervisor == "systemd":
        file, line = _unit_file(host, "memory", ("memory.max", limit), ("memory.limit_in_bytes", limit))
        do = (unit_property(f"MemoryMax={limit}", "MemorySwapMax=0"),)
        # When the kernel ends etcd, its unit's cgroup goes with it.
        seen = (CgroupTook(file, line),)
        lift = (unit_property("MemoryMax=", "MemorySwapMax="),)
        gone = CgroupShowsNot(file, line)
    else:
        group = above(host, "memory") / group_name(fault_id)
        file = str(group / "memory.limit_in_bytes")
        # The limit comes first: what the member holds already is counted where it was.
        do = (EnterCgroup(str(group), process.pid, process.start_ticks), SetCgroup(file, str(limit)))
        seen = (CgroupShows(file, str(limit)),)
        lift = (LeaveCgroup(str(group)),)
        gone = CgroupAbsent(str(group))
    return FaultSteps(
        inject=(ForeseeEnd((signal.SIGKILL,)), *do),
        verify_injected=seen,
        undo=(*lift, EnsureMemberRunning(), ForeseeNoEnd()),
        verify_healed=(gone, MemberRuns()),
    )


def _in_own_group(
    group: Path, process: ProcessId, values: tuple[str, str, str], shown: str, line: str
) -> FaultSteps:
    """Steps around a group of the fault's own. ``values``: a file, what it gets, and what it gets back."""
    name, value, before = values
    return FaultSteps(
        inject=(
            EnterCgroup(str(group), process.pid, process.start_ticks),
            SetCgroup(str(group / name), value),
        ),
        verify_injected=(CgroupHolds(str(group), process.pid), CgroupShows(str(group / shown), line)),
        undo=(SetCgroup(str(group / name), before), LeaveCgroup(str(group))),
        verify_healed=(CgroupAbsent(str(group)),),
    )


def group_name(fault_id: str) -> str:
    """Of a group of the fault's own."""
    return f"etcd-chaos-{fault_id}"


def above(host: HostContext, controller: str) -> Path:
    """The group in which the member is; raises ``UnavailableError``."""
    try:
        return host.machine.cgroups.member[controller]
    except KeyError:
        raise UnavailableError(f"the member is in no cgroup of controller {controller}") from None


def _unit_file(
    host: HostContext, controller: str, v2: tuple[str, str | int], v1: tuple[str, str | int]
) -> tuple[str, str]:
    """The kernel's file for the member's own unit, and what it says then."""
    name, line = v1 if controller in host.machine.cgroups.mounts else v2
    return str(unit_directory(host, controller) / name), str(line)


def unit_directory(host: HostContext, controller: str) -> Path:
    """The group of the member's own unit; raises ``UnavailableError``."""
    cgroups = host.machine.cgroups
    if controller not in cgroups.mounts:
        return above(host, V2)
    # v1 beside v2: systemd keeps its units in either, and makes the controller's group when it limits.
    units = V2 if V2 in cgroups.mounts else "name=systemd"
    return cgroups.mounts[controller] / above(host, units).relative_to(cgroups.mounts[units])


def unit_property(*assignments: str) -> Exec:
    """Set properties of the member's unit, for as long as it runs."""
    return Exec(("systemctl", "set-property", "--runtime", UNIT, *assignments))
