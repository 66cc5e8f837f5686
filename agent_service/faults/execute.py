"""Does what steps say, and looks whether it is so. The only place where faults touch the host."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from agent_service import commands, failpoints
from agent_service.errors import AgentServiceError, FaultFailedError, UnreachedError
from agent_service.faults import diskwork, nft
from agent_service.faults.base import REMOVED
from agent_service.faults.disksteps import DiskRuleFelt
from agent_service.faults.machine_execute import act_on_machine, machine_objection
from agent_service.faults.machine_steps import MachineStep
from agent_service.faults.nftables import is_listed, missing_rules
from agent_service.faults.quality_execute import quality_act, quality_objection
from agent_service.faults.quality_steps import (
    ChainAbsent,
    ChainQueues,
    EndQueue,
    QdiscRestored,
    QdiscShapes,
    QueueAttached,
    QueueGone,
    RemoveChain,
    RemoveQdisc,
    StartQueue,
)
from agent_service.faults.steps import (
    LASTING,
    DeleteFailpoints,
    EnsureMemberRunning,
    Exec,
    FailpointsAre,
    KillMember,
    MemberRuns,
    PanicReached,
    PauseMember,
    ProcessGone,
    ProcessNotStopped,
    ProcessStopped,
    QuitMember,
    ResumeMember,
    SetFailpoints,
    StopMember,
    TableAbsent,
    TableBlocks,
)
from agent_service.processes import ProcessId, boot_id, is_alive, is_stopped

if TYPE_CHECKING:
    from agent_service.faults.steps import Action, Check
    from agent_service.member import MemberControl

CONFIRM_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.005
_SERVES_SECONDS: Final = 0.5


async def act(action: Action, member: MemberControl, cause: str) -> str | None:
    """Do one action; every one may be done again. Returns what was seen that is worth telling.

    Raises:
        AgentServiceError: it could not be done.
    """
    match action:
        case Exec():
            program = nft if action.argv[0] == nft.NFT else commands
            await program.check(action.argv, stdin=action.stdin)
        case StopMember():
            await member.stop(action.grace_seconds, cause)
        case KillMember():
            await member.kill(cause)
        case QuitMember():
            await member.quit(cause)
        case PauseMember() | ResumeMember() | EnsureMemberRunning():
            await _revive_or_pause(action, member)
        case MachineStep():
            return await act_on_machine(action, member, cause)
        case SetFailpoints() | DeleteFailpoints():
            await _act_on_failpoints(action)
        case StartQueue() | EndQueue() | RemoveChain() | RemoveQdisc():
            await quality_act(action)
        case _:
            await diskwork.act(action, member, cause)
    return None


async def _act_on_failpoints(action: SetFailpoints | DeleteFailpoints) -> None:
    match action:
        case SetFailpoints():
            await failpoints.set_terms(action.address, action.terms)
        case DeleteFailpoints():
            await failpoints.delete(action.address, action.names)


async def _revive_or_pause(
    action: PauseMember | ResumeMember | EnsureMemberRunning, member: MemberControl
) -> None:
    match action:
        case PauseMember():
            await member.pause()
        case ResumeMember():
            if member.process is not None or not member.is_sound:
                await member.resume()
        case EnsureMemberRunning():
            await member.recover()


async def confirm(checks: tuple[Check, ...], member: MemberControl) -> str:
    """Look until everything is as it should be, and return what was seen.

    Raises:
        FaultFailedError: something still is not so when the time is over; ``UnreachedError`` if it is that.
    """
    deadline = time.monotonic() + CONFIRM_SECONDS
    while True:
        seen = [(check, await _objection(check, member)) for check in checks]
        objections = [objection for _, objection in seen if objection is not None]
        unreached = any(isinstance(check, PanicReached) and objection for check, objection in seen)
        if not objections:
            return "; ".join(str(check) for check, _ in seen)
        if time.monotonic() > deadline:
            if unreached:
                raise UnreachedError(f"etcd came by no failpoint that panics: {'; '.join(objections)}")
            raise FaultFailedError("; ".join(objections))
        await asyncio.sleep(_POLL_SECONDS)


async def lost(checks: tuple[Check, ...], member: MemberControl) -> str | None:
    """What is gone of an effect that must last while the fault does; ``None``: nothing."""
    for check in checks:
        try:
            objection = await _lasting_objection(check, member)
        except AgentServiceError as error:
            objection = error.detail
        if objection is not None:
            return objection
    return None


async def objections(checks: tuple[Check, ...], member: MemberControl) -> str | None:
    """What speaks against these now; ``None``: nothing."""
    seen = [await _objection(check, member) for check in checks]
    return "; ".join(filter(None, seen)) or None


async def _lasting_objection(check: Check, member: MemberControl) -> str | None:
    if isinstance(check, DiskRuleFelt):
        return await diskwork.still_set(check, member)  # felt once: to try it again takes its time
    return await _objection(check, member) if isinstance(check, LASTING) else None


async def _objection(check: Check, member: MemberControl) -> str | None:
    """What speaks against it; ``None``: it is so.

    Raises:
        AgentServiceError: nobody can know.
    """
    match check:
        case ProcessGone() | PanicReached():
            alive = is_alive(_process(check))
            return f"process {check.pid} is still there" if alive else None
        case ProcessStopped():
            stopped = is_stopped(_process(check))
            return None if stopped else f"process {check.pid} is not stopped"
        case ProcessNotStopped():
            stopped = is_stopped(_process(check))
            return f"process {check.pid} is still stopped" if stopped else None
        case MemberRuns():
            return _not_running(check, member)
        case TableBlocks():
            return missing_rules((await nft.check(check.argv)).stdout, check)
        case TableAbsent():
            listed = is_listed((await nft.check(check.argv)).stdout, check.table)
            return f"nftables table inet {check.table} is still there" if listed else None
        case MachineStep():
            return await machine_objection(check, member)
        case FailpointsAre():
            return await _other_terms(check, member)
        case QueueAttached() | QueueGone() | ChainQueues() | ChainAbsent() | QdiscShapes() | QdiscRestored():
            return await quality_objection(check)
        case _:
            return await diskwork.objection(check, member)


async def _other_terms(check: FailpointsAre, member: MemberControl) -> str | None:
    wanted_away = not any(check.terms.values())
    if wanted_away and member.state in REMOVED:
        return None  # nothing is left that could have them
    try:
        now = await failpoints.terms_of(check.address, check.terms)
    except failpoints.NobodyAnswersError:
        if not wanted_away:
            raise
        # Another binary has no such server. But who panicked a moment ago has closed it, too, and still lives.
        if await member.serves(_SERVES_SECONDS):
            return None
        return "nobody answers for failpoints, nor for peers: etcd starts, or is about to end"
    told = [
        f"failpoint {name} is {f'set to {term}' if term else 'not set'}"
        for name, term in now.items()
        if term != check.terms[name]
    ]
    return "; ".join(told) or None


def _process(check: ProcessGone | PanicReached | ProcessStopped | ProcessNotStopped) -> ProcessId:
    """The process it speaks of. After a reboot only absences are asked for, and nobody is this process."""
    return ProcessId(check.pid, check.start_ticks, boot_id())


def _not_running(check: MemberRuns, member: MemberControl) -> str | None:
    member.require_sound()
    if not check.not_pid and member.state in REMOVED:
        return None  # somebody removed it on purpose: nothing is left to bring back
    process = member.process
    if process is None or not is_alive(process):
        return f"etcd does not run: it is {member.state}"
    if (process.pid, process.start_ticks) == (check.not_pid, check.not_start_ticks):
        return f"etcd still is process {process.pid}"
    return None
