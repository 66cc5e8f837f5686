"""Who leads, who serves, who accepts writes: the cluster as its members describe it, ten times a second."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.errors import ClusterError, InfrastructureError
from tester.etcd.client import EtcdClient, MemberHealth
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError
from tester.events import EventBus, LeaderChanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tester.clock import RunClock
    from tester.etcd.channel import Connect
    from tester.etcd.endpoint import Endpoint

PROBE_PREFIX = "etcd-chaos/probe/"
"""Where ``wait_writes`` writes, one key per member: never under the prefix of a load."""

POLL_SECONDS = 0.1
_POLL_TIMEOUT_SECONDS = 0.5
_FRESH_NS = 1_000_000_000
_PROBE_TIMEOUT_SECONDS = 1.0
_PROBE_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Observation:
    """The last answer of a member. ``at_ns`` is when it was asked."""

    at_ns: int
    health: MemberHealth | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster now. ``leader`` is who a quorum of voters calls leader, if they agree on one."""

    voters: tuple[str, ...]
    learners: tuple[str, ...]
    leader: str | None
    term: int
    health: Mapping[str, MemberHealth | None]
    """``None``: no answer within the last second."""


class ClusterMonitor:
    """Polls every member by itself, so that a stalled one delays nobody else's answers."""

    def __init__(
        self, endpoints: Sequence[Endpoint], clock: RunClock, bus: EventBus, connect: Connect = connect
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._endpoints = {endpoint.member: endpoint for endpoint in endpoints}
        self._connect = connect
        self._polled: dict[str, EtcdClient] = {}
        self._probed: dict[str, EtcdClient] = {}
        self._seen: dict[str, Observation] = {}
        self._names: dict[int, str] = {}
        self._learners: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._published: tuple[str | None, int] = (None, 0)

    async def start(self) -> None:
        """Begin to poll."""
        for endpoint in self._endpoints.values():
            self._begin(endpoint)

    def follow(self, endpoint: Endpoint, *, learner: bool = False) -> None:
        """A member was added to the cluster, as a learner or as a voter: from now on it counts."""
        self._endpoints[endpoint.member] = endpoint
        if learner:
            self._learners.add(endpoint.member)
        self._begin(endpoint)

    async def forget(self, member: str) -> None:
        """A member was removed from the cluster: from now on it counts for nothing."""
        self._endpoints.pop(member, None)
        self._learners.discard(member)
        await self._end([member])
        self._seen.pop(member, None)
        self._publish()
        self._changed.set()

    async def stop(self) -> None:
        """Stop polling and close the connections."""
        await self._end(list(self._tasks))

    def _begin(self, endpoint: Endpoint) -> None:
        member = endpoint.member
        self._polled[member] = EtcdClient(endpoint, self._connect(endpoint), _POLL_TIMEOUT_SECONDS)
        self._probed[member] = EtcdClient(endpoint, self._connect(endpoint), _PROBE_TIMEOUT_SECONDS)
        self._tasks[member] = asyncio.create_task(self._poll(member), name=f"monitor {member}")

    async def _end(self, members: Sequence[str]) -> None:
        tasks = [self._tasks.pop(member) for member in members]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in members:
            await self._polled.pop(member).close()
            await self._probed.pop(member).close()

    def check_alive(self) -> None:
        """Raise what ended a poller.

        Raises:
            InfrastructureError: a poller died of a defect.
        """
        for task in self._tasks.values():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise InfrastructureError(f"{task.get_name()} died: {error!r}") from error

    def view(self) -> ClusterView:
        """The cluster as of the last second."""
        since = self._clock.now() - _FRESH_NS
        leader, term = self._leader(since)
        members = list(self._endpoints)
        return ClusterView(
            voters=tuple(member for member in members if member not in self._learners),
            learners=tuple(member for member in members if member in self._learners),
            leader=leader,
            term=term,
            health={member: self._health(member, since) for member in members},
        )

    async def wait_leader(self, timeout: float) -> float:
        """Until a quorum, asked from now on, names a leader that itself agrees; the seconds that took.

        Raises:
            ClusterError: there was none within ``timeout`` seconds.
        """
        since, started = self._clock.now(), time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                while not self._leader_agrees(since):
                    self.check_alive()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ClusterError(f"no leader within {timeout:g} s: {self._describe()}") from None
        return time.monotonic() - started

    async def wait_serving(self, timeout: float, members: Sequence[str] | None = None) -> float:
        """Until each of ``members`` (default: all) answers a read; the seconds that took.

        A voter's read is linearizable. A learner serves reads of its own state alone, so that is its.

        Raises:
            ClusterError: not all did within ``timeout`` seconds.
        """

        async def read(client: EtcdClient) -> None:
            if client.endpoint.member in self._learners:
                await client.range_all(PROBE_PREFIX, serializable=True)
            else:
                await client.get(PROBE_PREFIX + client.endpoint.member)

        everybody = tuple(self._endpoints) if members is None else members
        return await self._probe("a read", read, timeout, everybody)

    async def wait_writes(self, timeout: float, members: Sequence[str] | None = None) -> float:
        """Until a write was accepted through each of ``members`` (default: all voters); the seconds it took.

        Raises:
            ClusterError: not all did within ``timeout`` seconds.
        """

        async def write(client: EtcdClient) -> None:
            await client.put(PROBE_PREFIX + client.endpoint.member, b"probe")

        return await self._probe("a write", write, timeout, members)

    async def _poll(self, member: str) -> None:
        client = self._polled[member]
        while True:
            asked = self._clock.now()
            try:
                health = await client.status()
            except RpcError as error:
                self._seen[member] = Observation(asked, None, str(error))
            else:
                self._seen[member] = Observation(asked, health, None)
                self._names[health.member_id] = member
                (self._learners.add if health.is_learner else self._learners.discard)(member)
            self._publish()
            self._changed.set()
            spent = (self._clock.now() - asked) / 1e9
            await asyncio.sleep(max(0.0, POLL_SECONDS - spent))

    def _publish(self) -> None:
        leader, term = self._leader(self._clock.now() - _FRESH_NS)
        known, known_term = self._published
        if leader is None:
            term = known_term
        if (leader, term) != (known, known_term):
            self._published = (leader, term)
            self._bus.publish(LeaderChanged(self._clock.now(), leader, term))

    def _health(self, member: str, since_ns: int) -> MemberHealth | None:
        seen = self._seen.get(member)
        return seen.health if seen is not None and seen.at_ns >= since_ns else None

    def _leader(self, since_ns: int) -> tuple[str | None, int]:
        # A quorum must agree. A cut-off leader still names itself, and a cut-off follower without pre-vote
        # raises its term for ever: neither the newest term nor a single voice says who leads.
        votes: Counter[tuple[int, int]] = Counter()
        for member in self._endpoints:
            health = self._health(member, since_ns)
            if health is not None and health.leader_id and not health.is_learner:
                votes[health.leader_id, health.term] += 1
        quorum = (len(self._endpoints) - len(self._learners)) // 2 + 1
        for (leader_id, term), count in votes.items():
            if count >= quorum:
                return self._names.get(leader_id), term
        return None, 0

    def _leader_agrees(self, since_ns: int) -> bool:
        leader, term = self._leader(since_ns)
        if leader is None:
            return False
        health = self._health(leader, since_ns)
        return health is not None and health.leader_id == health.member_id and health.term == term

    async def _probe(
        self,
        what: str,
        attempt: Callable[[EtcdClient], Awaitable[None]],
        timeout: float,
        members: Sequence[str] | None,
    ) -> float:
        asked = self.view().voters if members is None else tuple(members)
        errors = dict.fromkeys(asked, "no answer")
        started = time.monotonic()

        async def until_done(member: str) -> None:
            while True:
                try:
                    await attempt(self._probed[member])
                except RpcError as error:
                    errors[member] = str(error)
                    await asyncio.sleep(_PROBE_PAUSE_SECONDS)
                else:
                    del errors[member]
                    return

        try:
            async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
                for member in asked:
                    group.create_task(until_done(member))
        except TimeoutError:
            refused = "; ".join(f"{member}: {error}" for member, error in errors.items())
            raise ClusterError(f"{what} was not answered within {timeout:g} s by {refused}") from None
        return time.monotonic() - started

    def _describe(self) -> str:
        parts = []
        for member in self._endpoints:
            seen = self._seen.get(member)
            if seen is None or seen.health is None:
                parts.append(f"{member}: {seen.error if seen else 'no answer'}")
            else:
                leader = self._names.get(seen.health.leader_id, "nobody")
                parts.append(f"{member} follows {leader} in term {seen.health.term}")
        return "; ".join(parts)
