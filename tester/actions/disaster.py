"""A cluster that is lost, and another one that is made of a snapshot: what an operator does on the worst day."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from agent_client import AgentClientError
from agent_service.models import MemberState
from tester.actions.ground import Done, Ground, talking_to, whole
from tester.actions.membership import add, start
from tester.errors import ActionError, AgentError
from tester.etcd.errors import RpcError

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.models import MemberSpec, RestoredData
    from tester.history.records import KeyValue

T = TypeVar("T")

Lose: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]
"""Injects the loss of their data on members that still have them, to be healed with the faults of the case."""

_CALL_SECONDS = 10.0
_LIVE = frozenset({MemberState.RUNNING, MemberState.PAUSED})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One that was saved. Times in nanoseconds on the run clock."""

    file: Path
    member: str
    asked_ns: int
    taken_ns: int
    size_bytes: int


class Turn(Protocol):
    """Between two clusters: who asks, who watches, and what the history is told."""

    prefix: str
    """Of the keys that are read."""

    async def quiet(self) -> None:
        """The load asks nothing more; returns when nothing is in flight."""

    async def close(self, members: Sequence[str]) -> None:
        """The same, and nobody watches on ``members`` any more."""

    def begin(self, revision: int, snapshot: Snapshot) -> None:
        """Whatever comes from now on is of another cluster."""

    def told(self, member: str, revision: int, content: tuple[KeyValue, ...]) -> None:
        """What a member of the new one holds before anybody writes; ``revision`` is its own."""

    async def watch(self, members: Sequence[str]) -> None:
        """Watch on ``members`` from the first revision on."""

    async def resume(self) -> None:
        """The load goes on."""


async def save(ground: Ground, member: str, file: Path) -> tuple[Done, Snapshot]:
    """Save a member's snapshot to a file of the tester's.

    Raises:
        ActionError: the member did not send it, or the disk does not take it.
    """
    asked = ground.clock.now()
    try:
        size = await ground.save_snapshot(ground.membership.endpoint(member), file, ground.limit)
    except (RpcError, OSError) as error:
        raise ActionError(
            f"no snapshot of {member}: {error}", remedy="limits.recovery allows more time"
        ) from error
    snapshot = Snapshot(file, member, asked, ground.clock.now(), size)
    return Done((member,), f"snapshot of {member} saved: {size} bytes, {file.name}"), snapshot


async def restore(ground: Ground, turn: Turn, snapshot: Snapshot, onto: Sequence[str], lose: Lose) -> Done:
    """Make a new cluster of ``onto`` out of a snapshot, and add the other members to it.

    Until the new cluster serves, healing the faults of the case brings the old one back. From then on it stays.

    Raises:
        ActionError: the new cluster did not come up, or the old one has a learner.
        AgentError: an agent could not do its part.
        FaultIneffectiveError: a member that still had data did not lose them.
    """
    names = ground.membership.names
    if learners := ground.monitor.view().learners:
        raise ActionError(
            f"restore-snapshot: {', '.join(learners)} would live on as a learner of the old cluster",
            remedy="promote it before, in an earlier case",
        )
    survivors = [name for name in names if await _lives(ground, name)]
    if survivors:
        await lose(survivors)
    await turn.close(onto)
    others = [name for name in names if name not in onto]
    for name in others:
        await ground.membership.leaving(name)
        await ground.membership.left(name)
    specs = [_spec(ground, name, onto) for name in onto]
    restored = await asyncio.gather(*(_restore(ground, spec, snapshot) for spec in specs))
    revision = restored[0].revision
    turn.begin(revision, snapshot)
    for spec in specs:
        await start(ground, spec)
    await ground.monitor.wait_leader(ground.limit)
    await ground.monitor.wait_serving(ground.limit, onto)
    for name in onto:
        turn.told(name, *await _content(ground, name, turn.prefix, revision))
    for name in onto:
        await _ask(name, ground.agents[name].keep_restored)
    await whole(ground, "the cluster was restored", onto)
    await turn.watch(onto)
    for name in others:
        await add(ground, name, learner=False)
    await turn.resume()
    added = f", {', '.join(others)} added" if others else ""
    return Done(
        tuple(onto),
        f"a new cluster of {', '.join(onto)} restored at revision {revision} with {restored[0].tool}{added}",
    )


def _spec(ground: Ground, name: str, onto: Sequence[str]) -> MemberSpec:
    own = ground.specs[name]
    # Ids of cluster and members are made of it: members of the old cluster must not take this one for theirs.
    token = f"restored-{hashlib.sha256(own.initial_cluster_token.encode()).hexdigest()[:12]}"
    return own.model_copy(
        update={
            "initial_cluster": {other: ground.peer_url(other) for other in onto},
            "initial_cluster_state": "new",
            "initial_cluster_token": token,
        }
    )


async def _lives(ground: Ground, name: str) -> bool:
    return (await _ask(name, ground.agents[name].member)).state in _LIVE


async def _restore(ground: Ground, spec: MemberSpec, snapshot: Snapshot) -> RestoredData:
    agent = ground.agents[spec.name]
    if spec.name in ground.certificates:
        await _ask(spec.name, lambda: agent.put_tls(ground.certificates[spec.name]))
    stored = await _ask(spec.name, lambda: agent.put_snapshot(snapshot.file))
    return await _ask(spec.name, lambda: agent.restore(spec, stored.sha256))


async def _ask(name: str, call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    except AgentClientError as error:
        raise AgentError(f"{name}: {error.message}", remedy=error.remedy) from error


async def _content(ground: Ground, name: str, prefix: str, revision: int) -> tuple[int, tuple[KeyValue, ...]]:
    async with talking_to(ground, name, _CALL_SECONDS) as client:
        try:
            now, _ = await client.get(prefix)
            _, content = await client.range_all(prefix, revision)
        except RpcError as error:
            raise ActionError(f"{name} does not tell what it was restored to: {error}") from error
    return now, content
