"""Does to packet queues, chains and queueing disciplines what steps say, looks at them, and counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from agent_service import commands
from agent_service.faults import iptables, shaping
from agent_service.faults.quality_steps import (
    ChainAbsent,
    ChainQueues,
    EndQueue,
    LeafCount,
    QdiscRestored,
    QdiscShapes,
    QueueAttached,
    QueueCount,
    QueueGone,
    RemoveChain,
    RemoveQdisc,
    StartQueue,
)
from agent_service.quality import lifeline, nfqueue

if TYPE_CHECKING:
    from agent_service.faults.quality_steps import Count, QualityAction, QualityCheck


async def quality_act(action: QualityAction) -> None:
    """Do one action; raises ``AgentServiceError`` when it cannot be done."""
    match action:
        case StartQueue():
            await lifeline.start(Path(action.path), action.order)
        case EndQueue():
            await lifeline.end(Path(action.path))
        case RemoveChain():
            await iptables.remove(action)
        case RemoveQdisc():
            await shaping.remove(action)
        case _:
            assert_never(action)


async def quality_objection(check: QualityCheck) -> str | None:
    """What speaks against it; ``None``: it is so."""
    match check:
        case QueueAttached():
            return await asyncio.to_thread(_detached, check)
        case QueueGone():
            return await asyncio.to_thread(_left, Path(check.path))
        case ChainQueues():
            return iptables.missing_rules((await commands.check(check.argv)).stdout, check)
        case ChainAbsent():
            listed = iptables.is_listed((await commands.check(check.argv)).stdout)
            return f"chain {iptables.CHAIN} of iptables ({check.family}) is still there" if listed else None
        case QdiscShapes():
            qdiscs = await commands.check(shaping.LIST_QDISCS)
            filters = await commands.check(shaping.filters_argv(check.device))
            return shaping.missing_shape(qdiscs.stdout, filters.stdout, check)
        case QdiscRestored():
            return _not_restored((await commands.check(shaping.LIST_QDISCS)).stdout, check)
    assert_never(check)


async def count(step: Count) -> str:
    """What a fault has done so far, as a person reads it."""
    match step:
        case QueueCount():
            queued = await asyncio.to_thread(_queued, step.queue)
            return (
                "the packet queue is gone" if queued is None else f"{queued} packets went through the queue"
            )
        case LeafCount():
            leaf = shaping.leaf_of((await commands.check(shaping.LIST_QDISCS)).stdout, step.device)
            if leaf is None:
                return f"{step.device} has no queue of the fault's any more"
            return f"{leaf.packets} packets ({leaf.bytes} bytes) left by {step.device}, {leaf.drops} dropped"
    assert_never(step)


def _detached(check: QueueAttached) -> str | None:
    owner, holder = nfqueue.listed_owner(_listing(), check.queue), lifeline.holder(Path(check.path))
    if owner is None or holder is None:
        return f"packet queue {check.queue} has no process"
    return None if owner == holder else f"packet queue {check.queue} belongs to process {owner}, not {holder}"


def _left(path: Path) -> str | None:
    there = [one for one in (path, lifeline.cut_off(path)) if one.exists()]
    return f"{there[0]} is still there" if there else None


def _queued(queue: int) -> int | None:
    return nfqueue.listed_total(_listing(), queue)


def _listing() -> str:
    try:
        return Path(nfqueue.LISTING).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def _not_restored(listing: str, check: QdiscRestored) -> str | None:
    root = shaping.root_of(listing, check.device)
    if root is None:
        return None  # the device is gone, and what it had with it
    if root.handle == shaping.ROOT:
        return f"qdisc {shaping.ROOT} is still there on {check.device}"
    if (root.kind, root.handle) != (check.kind, shaping.KERNELS_OWN):
        return f"the root of {check.device} is {root.kind} {root.handle} and was {check.kind}"
    return None
