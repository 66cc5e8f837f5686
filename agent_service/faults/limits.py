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
            own / _name(fault_id), process, ("cgroup.freeze", "1", "0"), "cgroup.events", "frozen 1"
        )
    own = _above(host, "freezer")
    state = "freezer.state"
    return _in_own_group(own / _name(fault_id), process, (state, "FROZEN", "THAWED"), state, "FROZEN")


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
            inject=(_property("CPUQuota", f"{spec.percent:g}%"),),
            verify_injected=(CgroupShows(file, line),),
            undo=(_property("CPUQuota", ""),),
            verify_healed=(CgroupShowsNot(file, line),),
        )
    return _in_own_group(
        _above(host, "cpu") / _name(fault_id),
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
        do = (_property("MemoryMax", str(limit), "MemorySwapMax=0"),)
        # When the kernel ends etcd, its unit's cgroup goes with it.
        seen = (CgroupTook(file, line),)
        lift = (_property("MemoryMax", "", "MemorySwapMax="),)
        gone = CgroupShowsNot(file, line)
    else:
        group = _above(host, "memory") / _name(fault_id)
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


def _name(fault_id: str) -> str:
    return f"etcd-chaos-{fault_id}"


def _above(host: HostContext, controller: str) -> Path:
    """The group in which the member is."""
    try:
        return host.machine.cgroups.member[controller]
    except KeyError:
        raise UnavailableError(f"the member is in no cgroup of controller {controller}") from None


def _unit_file(
    host: HostContext, controller: str, v2: tuple[str, str | int], v1: tuple[str, str | int]
) -> tuple[str, str]:
    """The kernel's file for the member's own unit, and what it says then."""
    cgroups = host.machine.cgroups
    if controller in cgroups.mounts and V2 in cgroups.mounts:
        # v1 beside v2: systemd keeps its units in either, and makes the controller's group when it limits.
        within = _above(host, V2).relative_to(cgroups.mounts[V2])
        return str(cgroups.mounts[controller] / within / v1[0]), str(v1[1])
    if controller in cgroups.mounts:
        within = _above(host, "name=systemd").relative_to(cgroups.mounts["name=systemd"])
        return str(cgroups.mounts[controller] / within / v1[0]), str(v1[1])
    return str(_above(host, V2) / v2[0]), str(v2[1])


def _property(name: str, value: str, *more: str) -> Exec:
    return Exec(("systemctl", "set-property", "--runtime", UNIT, f"{name}={value}", *more))
