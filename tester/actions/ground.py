"""What actions have at hand, and how they talk to the cluster."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tester.errors import ActionError, ClusterError
from tester.etcd.admin import AdminClient
from tester.etcd.errors import RpcError
from tester.etcd.snapshot import save_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from agent_client import AgentClient
    from agent_service.models import MemberSpec, MemberTls
    from tester.clock import RunClock
    from tester.etcd.channel import Connect
    from tester.etcd.client import ListedMember
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.monitor import ClusterMonitor
    from tester.events import EventBus
    from tester.inventory import Host
    from tester.membership import Membership
    from tester.results import CheckResult

T = TypeVar("T")

_CALL_SECONDS = 5.0
_AGAIN_SECONDS = 0.1


def _to_nobody(_revision: int) -> None:
    """Without a history."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The cluster of a round, as an operator sees it."""

    hosts: Mapping[str, Host]
    """All hosts, spares too, in the order of the plan."""
    agents: Mapping[str, AgentClient]
    specs: dict[str, MemberSpec]
    """How each member was started last, or would be. Actions that start one write it down here."""
    membership: Membership
    monitor: ClusterMonitor
    clock: RunClock
    bus: EventBus
    connect: Connect
    limit: float
    """Seconds until a single step must have come to its end."""
    certificates: Mapping[str, MemberTls] = field(default_factory=dict)
    """Of the members, where they need one."""
    flags: Callable[[str], Mapping[str, str]] | None = None
    """Of a member, by its version; without it each keeps those that it has."""
    announce_compaction: Callable[[int], None] = _to_nobody
    """Told the revision before it is compacted: the history must know who asked."""
    save_snapshot: Callable[[Endpoint, Path, float], Awaitable[int]] = save_snapshot

    def as_version(self, spec: MemberSpec, version: str) -> MemberSpec:
        """How a member is started with another etcd: its flags may be others."""
        flags = spec.flags if self.flags is None else dict(self.flags(version))
        return spec.model_copy(update={"version": version, "flags": flags})

    def peer_url(self, member: str) -> str:
        """How the cluster's own list names a member, or would."""
        return self.specs[member].peer_url


@dataclass(frozen=True, slots=True)
class Done:
    """An action that came to its end, but for the rest. ``checks`` are verdicts that only it could reach."""

    targets: tuple[str, ...]
    text: str
    checks: tuple[CheckResult, ...] = ()
    rest: Callable[[], Awaitable[Done]] | None = None
    """What is to be done when the faults of the case are healed; at once where it has none."""


@asynccontextmanager
async def talking_to(
    ground: Ground, member: str, timeout_seconds: float = _CALL_SECONDS
) -> AsyncIterator[AdminClient]:
    """A client of one member, closed afterwards."""
    endpoint = ground.membership.endpoint(member)
    client = AdminClient(endpoint, ground.connect(endpoint), timeout_seconds)
    try:
        yield client
    finally:
        await client.close()


async def persist(
    ground: Ground,
    what: str,
    attempt: Callable[[AdminClient], Awaitable[T]],
    *,
    members: Sequence[str] = (),
) -> T:
    """Ask one member after the other, the leader first, until one says yes.

    ``attempt`` must bear to be repeated: a call that timed out may have done its work.

    Raises:
        ActionError: nobody did within the limit; carries the last refusal.
    """
    last: RpcError | None = None
    try:
        async with asyncio.timeout(ground.limit):
            while True:
                for member in members or _leader_first(ground):
                    try:
                        async with talking_to(ground, member) as client:
                            return await attempt(client)
                    except RpcError as error:
                        last = error
                    await asyncio.sleep(_AGAIN_SECONDS)
                await asyncio.sleep(_AGAIN_SECONDS)
    except TimeoutError:
        raise ActionError(
            f"{what}: not done within {ground.limit:g} s: {last or 'nobody to ask'}",
            remedy="limits.recovery allows more time; etcd's words say what it waits for",
        ) from last


async def whole(ground: Ground, what: str, members: Sequence[str] | None = None) -> None:
    """Wait until there is a leader, and ``members`` (default: all) serve reads and take writes.

    Raises:
        ActionError: they do not within the limit. ``what`` says after what.
    """
    try:
        await ground.monitor.wait_leader(ground.limit)
        await ground.monitor.wait_serving(ground.limit, members)
        await ground.monitor.wait_writes(ground.limit, members)
    except ClusterError as error:
        raise ActionError(f"{what}, and the cluster is not whole: {error.message}") from error


async def listed_members(client: AdminClient) -> dict[str, ListedMember]:
    """The cluster's own list, by peer URL: a member that has not started yet has no name."""
    return {url: member for member in await client.member_list() for url in member.peer_urls}


def _leader_first(ground: Ground) -> tuple[str, ...]:
    leader = ground.monitor.view().leader
    return tuple(sorted(ground.membership.names, key=lambda name: name != leader))
