"""Faults on the member's process: stop, kill, pause, restart, crash loop, loss of its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.faults.machine_steps import BringDataBack, PathAbsent, SetDataAside
from agent_service.faults.steps import (
    EnsureMemberRunning,
    FaultSteps,
    KillMember,
    MemberRuns,
    PauseMember,
    ProcessGone,
    ProcessNotStopped,
    ProcessStopped,
    QuitMember,
    Repeat,
    ResumeMember,
    StopMember,
)

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext
    from agent_service.faults.steps import Action
    from agent_service.models import (
        CrashLoopFault,
        KillFault,
        LoseDataFault,
        PauseFault,
        RestartFault,
        StopFault,
    )

_NO_DATA: Final = "/DATA"
"""Stands in a plan for the directory of a member that was never started: nothing is done by such a plan."""


def plan_stop(_fault_id: str, spec: StopFault, host: HostContext) -> FaultSteps:
    """SIGTERM; healed by a start."""
    return _ended_by(StopMember(spec.grace_seconds), host)


def plan_kill(_fault_id: str, spec: KillFault, host: HostContext) -> FaultSteps:
    """SIGKILL or SIGQUIT; healed by a start."""
    return _ended_by(QuitMember() if spec.signal == "SIGQUIT" else KillMember(), host)


def _ended_by(action: Action, host: HostContext) -> FaultSteps:
    process = host.running_process()
    return FaultSteps(
        inject=(action,),
        verify_injected=(ProcessGone(process.pid, process.start_ticks),),
        undo=(EnsureMemberRunning(),),
        verify_healed=(MemberRuns(),),
    )


def plan_pause(_fault_id: str, _spec: PauseFault, host: HostContext) -> FaultSteps:
    """SIGSTOP; healed by SIGCONT."""
    process = host.running_process()
    return FaultSteps(
        inject=(PauseMember(),),
        verify_injected=(ProcessStopped(process.pid, process.start_ticks),),
        undo=(ResumeMember(),),
        verify_healed=(ProcessNotStopped(process.pid, process.start_ticks),),
    )


def plan_restart(_fault_id: str, spec: RestartFault, host: HostContext) -> FaultSteps:
    """Stop and start at once; the heal only sees to it that the member runs."""
    process = host.running_process()
    return FaultSteps(
        inject=(StopMember(spec.grace_seconds), EnsureMemberRunning()),
        verify_injected=(
            ProcessGone(process.pid, process.start_ticks),
            MemberRuns(process.pid, process.start_ticks),
        ),
        undo=(EnsureMemberRunning(),),
        verify_healed=(MemberRuns(),),
    )


def plan_crash_loop(_fault_id: str, spec: CrashLoopFault, host: HostContext) -> FaultSteps:
    """SIGKILL and start, at once and every so often; the heal only sees to it that the member runs."""
    process = host.running_process()
    crash = (KillMember(), EnsureMemberRunning())
    return FaultSteps(
        inject=crash,
        verify_injected=(
            ProcessGone(process.pid, process.start_ticks),
            MemberRuns(process.pid, process.start_ticks),
        ),
        undo=(EnsureMemberRunning(),),
        verify_healed=(MemberRuns(),),
        repeat=Repeat(spec.every_seconds, crash),
    )


def plan_lose_data(fault_id: str, _spec: LoseDataFault, host: HostContext) -> FaultSteps:
    """SIGQUIT, and the data are gone; brought back, unless the member was made anew meanwhile."""
    process = host.running_process()
    directory = Path(host.data_dir or _NO_DATA)
    aside = str(directory.with_name(f"{directory.name}.aside-{fault_id}"))
    return FaultSteps(
        inject=(QuitMember(), SetDataAside(str(directory), aside)),
        verify_injected=(ProcessGone(process.pid, process.start_ticks), PathAbsent(str(directory))),
        undo=(BringDataBack(str(directory), aside), EnsureMemberRunning()),
        verify_healed=(PathAbsent(aside), MemberRuns()),
    )
