"""Undoes a fault as far as it can be undone, and says what is left."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_service.errors import AgentServiceError
from agent_service.faults.disksteps import ExcuseNothing
from agent_service.faults.execute import act, confirm
from agent_service.faults.quality_execute import count

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeVar

    from agent_service.faults.steps import FaultSteps
    from agent_service.member import MemberControl

    T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undone:
    """``gone``: looking confirmed that nothing is left; ``evidence`` says what was seen, and what failed."""

    gone: bool
    evidence: str


async def undo(steps: FaultSteps, member: MemberControl, cause: str) -> Undone:
    """Run every undo step, also after one that failed, and then look. Never raises for what goes wrong.

    Only looking decides: a step that complained about what is gone anyway is no failure. But as long as one has
    complained, what the fault may still do to etcd is not etcd's doing: its excuse stays until the undo is repeated.
    """
    notes: list[str] = []
    problems: list[str] = []
    for action in steps.undo:
        if problems and isinstance(action, ExcuseNothing):
            continue
        told = await _attempt(act(action, member, cause), problems)
        if told is not None:
            notes.append(told)
    notes = problems + notes
    seen = await _attempt(confirm(steps.verify_healed, member), notes)
    if seen is not None:
        notes.append(seen)
    return Undone(gone=seen is not None, evidence="; ".join(notes))


async def counts(steps: FaultSteps | None) -> str:
    """What a fault has done so far. Never raises: what cannot be counted is said so."""
    problems: list[str] = []
    if steps is None:
        return ""
    counted = [await _attempt(count(step), problems) for step in steps.counts]
    return "; ".join([one for one in counted if one is not None] + problems)


async def _attempt(work: Awaitable[T], problems: list[str]) -> T | None:
    try:
        return await work
    except AgentServiceError as error:
        problems.append(error.detail)
    except Exception as error:  # noqa: BLE001 - a defect in an undo must be reported and tried again, not lost
        _log.exception("an undo step has a defect")
        problems.append(f"{type(error).__name__}: {error}")
    return None
