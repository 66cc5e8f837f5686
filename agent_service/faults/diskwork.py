"""Does to the layer under the member's data what steps say, and looks through it whether it is so."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from agent_service.disk import probe
from agent_service.disk.messages import Ask, DropRule, LosePower, Revive, SetRule
from agent_service.errors import UnavailableError
from agent_service.faults import filework
from agent_service.faults.disksteps import (
    DiskPowered,
    DiskRuleFelt,
    DiskRuleGone,
    DropDiskRule,
    ExcuseEnd,
    ExcuseNothing,
    LoseMemberPower,
    MarkerLost,
    RestoreMemberPower,
    SetDiskRule,
    WriteMarkers,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from agent_service.faults.disksteps import DiskAction, DiskCheck
    from agent_service.member import MemberControl

    T = TypeVar("T")

_PROBE_SECONDS: Final = 60.0
"""More than any delay that may be asked for."""
_LOOKS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="disk-look")
"""Threads of their own: looks that are stuck behind a disk that hangs must not use up everybody's."""


async def act(action: DiskAction, member: MemberControl, cause: str) -> None:
    """Do one action.

    Raises:
        AgentServiceError: it could not be done.
    """
    match action:
        case SetDiskRule():
            member.disk.looked_at_for.add(action.fault)
            await _through(probe.prepare, member)  # while that still is easy
            await member.disk.say(SetRule(action.fault, action.rule))
        case DropDiskRule():
            await _drop_rule(action.fault, member)
        case ExcuseEnd():
            await member.excuse(action.cause)
        case ExcuseNothing():
            await member.excuse(None)
        case WriteMarkers():
            await _through(probe.write_markers, member)
        case LoseMemberPower():
            await _lose_power(cause, member)
        case RestoreMemberPower():
            if member.disk.alive:
                await member.disk.say(Revive())
        case _:
            await filework.act(action, member)


async def objection(check: DiskCheck, member: MemberControl) -> str | None:
    """What speaks against it; ``None``: it is so.

    Raises:
        AgentServiceError: nobody can know.
    """
    match check:
        case DiskRuleFelt():
            return await still_set(check, member) or await _through(
                lambda mount: probe.objection(mount, check.rule), member
            )
        case DiskRuleGone():
            return await _gone_objection(check.fault, member)
        case MarkerLost():
            return await _through(probe.marker_objection, member)
        case DiskPowered():
            return await _powered_objection(member)
        case _:
            return await filework.objection(check, member)


async def still_set(check: DiskRuleFelt, member: MemberControl) -> str | None:
    """What speaks against the rule's being held; nothing is tried."""
    state = await member.disk.say(Ask())
    held = state.rules.get(check.fault) == check.rule
    return None if held else f"the disk layer does not know that {check.rule}"


async def _drop_rule(fault: str, member: MemberControl) -> None:
    """No more. A layer that is gone has taken its rules with it."""
    member.disk.looked_at_for.discard(fault)
    if member.disk.alive:
        state = await member.disk.say(DropRule(fault))
        if not state.rules and not state.powerless:
            await _clear_away(member)


async def _lose_power(cause: str, member: MemberControl) -> None:
    """Kill the member and put back what it had not synced."""

    async def crash() -> None:
        await member.disk.say(LosePower())

    await member.lose_power(cause, crash)


async def _gone_objection(fault: str, member: MemberControl) -> str | None:
    """What speaks against the layer's doing nothing for the fault any more."""
    if not member.disk.alive:
        return None
    state = await member.disk.say(Ask())
    if fault in state.rules:
        return f"the disk layer still knows that {state.rules[fault]}"
    return None if state.rules or state.powerless else await _passes_on(member)


async def _powered_objection(member: MemberControl) -> str | None:
    """What speaks against the layer's taking what is written."""
    if not member.disk.alive:
        return None
    state = await member.disk.say(Ask())
    if state.powerless:
        return "the disk layer takes nothing that is written"
    return None if state.rules else await _passes_on(member)


async def _passes_on(member: MemberControl) -> str | None:
    found = await _through(probe.trouble, member)
    await _clear_away(member)
    return found


async def _clear_away(member: MemberControl) -> None:
    """Remove what was looked at, unless another fault is just beginning to."""
    if not member.disk.looked_at_for:
        await _through(probe.remove, member)


async def _through(look: Callable[[Path], T], member: MemberControl) -> T:
    """Touch what lies behind the mount, with a deadline: a layer may hang.

    Raises:
        UnavailableError: there is no mount, it took too long, or what was tried failed.
    """
    mount = member.disk_mount
    if mount is None:
        raise UnavailableError("there is no disk layer under the member's data")
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(_LOOKS, look, mount)
    except TimeoutError as error:
        raise UnavailableError(f"{mount} does not answer within {_PROBE_SECONDS:g} s") from error
    except OSError as error:
        raise UnavailableError(f"{error.filename or mount}: {error.strerror}") from error
