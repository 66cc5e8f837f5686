"""Heals a host from outside, with settings and journal alone: the agent is dead, or must not be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.errors import FaultFailedError
from agent_service.faults.manager import FaultManager
from agent_service.member import MemberControl
from agent_service.models import FaultState
from agent_service.supervisor import create_supervisor

if TYPE_CHECKING:
    from agent_service.audit import AuditLog
    from agent_service.models import FaultStatus
    from agent_service.settings import AgentSettings

_LOCK_WAIT_SECONDS: Final = 2.0


class UnhealedError(Exception):
    """Faults are left on this host; the message names them and the evidence."""


def require_healed(faults: tuple[FaultStatus, ...]) -> None:
    """Of faults that were just undone.

    Raises:
        UnhealedError: the undo of one failed, or has not come to its end.
    """
    left = [fault for fault in faults if fault.state in {FaultState.HEAL_FAILED, FaultState.HEALING}]
    if left:
        raise UnhealedError("; ".join(f"fault {f.id}: {f.evidence}" for f in left))


async def heal_host(
    settings: AgentSettings, audit: AuditLog, *, who: str, expired_only: bool
) -> tuple[FaultStatus, ...]:
    """Undo every fault of this host, newest first, or only those whose lease is over or that a crash left.

    Returns those it undid or, in state ``heal_failed``, could not undo.

    Raises:
        UnavailableError: the agent is alive and must be asked instead: two owners would get in each other's
            way.
        FaultFailedError: everything readable was healed, but a journal file is damaged.
    """
    member = MemberControl(settings, create_supervisor(settings))
    await member.adopt(_LOCK_WAIT_SECONDS)
    try:
        manager = FaultManager(settings, member, audit)
        touched = await manager.adopt("heal-command")
        if not expired_only:
            touched = (*touched, *await manager.heal_all("heal-command", who))
        if manager.damaged:
            raise FaultFailedError(
                f"cannot read what to undo: {', '.join(map(str, manager.damaged))}",
                remedy="see what these describe, undo it by hand, and remove them",
            )
        return tuple({status.id: status for status in touched}.values())
    finally:
        member.close()
