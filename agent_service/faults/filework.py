"""Damages files of the member, and puts them back, as steps say."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, assert_never

from agent_service import damage
from agent_service.errors import IllegalStateError, RefusedError
from agent_service.faults.disksteps import DamageFile, FileDamaged, NoDamage, PutBack, StartOnDamage

if TYPE_CHECKING:
    from agent_service.faults.disksteps import FileAction, FileCheck
    from agent_service.member import MemberControl

_RECOVERY_SECONDS: Final = 10.0
_log: Final = logging.getLogger(__name__)


async def act(action: FileAction, member: MemberControl) -> None:
    """Do one action.

    Raises:
        AgentServiceError: it could not be done.
    """
    record = member.damage_record(action.fault)
    match action:
        case DamageFile():
            _need_stopped(member)
            place = damage.Place(member.data_path, member.data_roots)
            await asyncio.to_thread(damage.inflict, record, place, action.file, action.damage, action.seed)
        case StartOnDamage():
            if await asyncio.to_thread(damage.read, record) is not None:
                await _start(action.fault, member)
        case PutBack():
            if await asyncio.to_thread(damage.read, record) is not None:
                _need_stopped(member)
                await asyncio.to_thread(damage.put_back, record, member.data_roots)
        case _:
            assert_never(action)


async def objection(check: FileCheck, member: MemberControl) -> str | None:
    """What speaks against it; ``None``: it is so."""
    record = member.damage_record(check.fault)
    match check:
        case FileDamaged():
            return await asyncio.to_thread(damage.objection, record, member.data_roots)
        case NoDamage():
            left = await asyncio.to_thread(damage.read, record)
            return None if left is None else f"{left.path} is not put back"
    assert_never(check)


async def _start(fault: str, member: MemberControl) -> None:
    """What etcd does is told in its exits; whether it serves decides what becomes of the bytes."""
    try:
        await member.recover()
        serves = await member.serves(_RECOVERY_SECONDS)
    except RefusedError as error:
        _log.info("fault %s: %s", fault, error.detail)
        return
    if serves:
        await asyncio.to_thread(damage.forget, member.damage_record(fault))


def _need_stopped(member: MemberControl) -> None:
    if member.process is not None:
        raise IllegalStateError("etcd runs, and its files are its own", state=member.state)
