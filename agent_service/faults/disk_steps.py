"""Does to the layer under the member's data what steps say, and looks through it whether it is so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent_service.disk import probe
from agent_service.disk.messages import Ask, DropRule, LosePower, Revive, SetRule
from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from agent_service.disk.messages import AnyRule
    from agent_service.member import MemberControl

    T = TypeVar("T")

_PROBE_SECONDS: Final = 60.0
"""More than any delay that may be asked for."""


async def set_rule(fault: str, rule: AnyRule, member: MemberControl) -> None:
    """From now on; the files to look at it by are made before."""
    await _through(probe.prepare, member)
    await member.disk.say(SetRule(fault, rule))


async def drop_rule(fault: str, member: MemberControl) -> None:
    """No more. A layer that is gone has taken its rules with it."""
    if member.disk.alive:
        state = await member.disk.say(DropRule(fault))
        if not state.rules and not state.powerless:
            await _through(probe.remove, member)


async def write_markers(member: MemberControl) -> None:
    """One file that is synced and one that is not."""
    await _through(probe.write_markers, member)


async def lose_power(cause: str, member: MemberControl) -> None:
    """Kill the member and put back what it had not synced."""

    async def crash() -> None:
        await member.disk.say(LosePower())

    await member.lose_power(cause, crash)


async def restore_power(member: MemberControl) -> None:
    """What is written is taken again."""
    if member.disk.alive:
        await member.disk.say(Revive())


async def rule_objection(fault: str, rule: AnyRule, member: MemberControl) -> str | None:
    """What speaks against the rule's being in effect."""
    state = await member.disk.say(Ask())
    if state.rules.get(fault) != rule:
        return f"the disk layer does not know that {rule}"
    return await _through(lambda mount: probe.objection(mount, rule), member)


async def still_set(fault: str, rule: AnyRule, member: MemberControl) -> str | None:
    """What speaks against the rule's being held; nothing is tried."""
    state = await member.disk.say(Ask())
    return None if state.rules.get(fault) == rule else f"the disk layer does not know any more that {rule}"


async def gone_objection(fault: str, member: MemberControl) -> str | None:
    """What speaks against the layer's doing nothing for the fault any more."""
    if not member.disk.alive:
        return None
    state = await member.disk.say(Ask())
    if fault in state.rules:
        return f"the disk layer still knows that {state.rules[fault]}"
    return None if state.rules or state.powerless else await _passes_on(member)


async def marker_objection(member: MemberControl) -> str | None:
    """What speaks against the loss of what was not synced."""
    return await _through(probe.marker_objection, member)


async def powered_objection(member: MemberControl) -> str | None:
    """What speaks against the layer's taking what is written."""
    if not member.disk.alive:
        return None
    state = await member.disk.say(Ask())
    if state.powerless:
        return "the disk layer takes nothing that is written"
    return None if state.rules else await _passes_on(member)


async def _passes_on(member: MemberControl) -> str | None:
    found = await _through(probe.trouble, member)
    await _through(probe.remove, member)
    return found


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
            return await asyncio.to_thread(look, mount)
    except TimeoutError as error:
        raise UnavailableError(f"{mount} does not answer within {_PROBE_SECONDS:g} s") from error
    except OSError as error:
        raise UnavailableError(f"{error.filename or mount}: {error.strerror}") from error
