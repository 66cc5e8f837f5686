"""The end state: what every member says about itself while the load is paused."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from tester.etcd.client import EtcdClient
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError, StatusCode
from tester.history.endstate import CaseRecovery, EndState, MemberEnd, MemberExit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from agent_service.models import ExitRecord
    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.exits import ExitWatch

Answer = TypeVar("Answer")

_CALL_SECONDS = 10.0
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.2
_AGREE_NS = 5_000_000_000
"""For how long members may be asked that are not at one revision."""
_WHOEVER = 0
"""Whose alarm it is where etcd's check of hashes cannot tell which members differ: everybody's."""


class Witness:
    """Asks each member through its own endpoint; ``close`` it at the end."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        members: Collection[str],
        clock: RunClock,
        exits: ExitWatch,
        prefix: str,
    ) -> None:
        """``endpoints``: of everybody who may be a member; ``members``: who is one now."""
        self._endpoints = {endpoint.member: endpoint for endpoint in endpoints}
        self._clients = {member: self._client(member) for member in members}
        self._clock = clock
        self._exits = exits
        self._prefix = prefix
        self._recoveries: list[CaseRecovery] = []

    def recovered(self, recovery: CaseRecovery) -> None:
        """Keep the measured recovery of a case: it is part of every later end state."""
        self._recoveries.append(recovery)

    async def joined(self, member: str) -> None:
        """From now on this one is a member, and is asked too."""
        self._clients[member] = self._client(member)

    async def left(self, member: str) -> None:
        """This one is no member any more, and has nothing to say."""
        await self._clients.pop(member).close()

    def _client(self, member: str) -> EtcdClient:
        endpoint = self._endpoints[member]
        return EtcdClient(endpoint, connect(endpoint), _CALL_SECONDS)

    async def testify(self, revision: int) -> EndState:
        """Read every member at ``revision``, the newest of the paused load. A member's error is part of it."""
        await self._exits.poll_now()
        asked_ns, ends = self._clock.now(), await self._ask(revision)
        before = ends
        until_ns = self._clock.now() + _AGREE_NS
        while _differ(ends) and self._clock.now() < until_ns:
            # A lease may have ended when one member had been asked and another had not; so may the next.
            await asyncio.sleep(_PAUSE_SECONDS)
            before = ends
            asked_ns, ends = self._clock.now(), await self._ask(revision)
        return EndState(
            at=self._clock.now(),
            members=ends,
            recoveries=tuple(self._recoveries),
            asked=asked_ns,
            moving=tuple(
                name
                for name, end in ends.items()
                if end.error is None and end.revision != before[name].revision
            ),
        )

    async def _ask(self, revision: int) -> dict[str, MemberEnd]:
        names = tuple(self._clients)
        told = await asyncio.gather(*(self._read(name, revision) for name in names))
        # Only now: the question for alarms is an entry of its own, and moves what members are compared by.
        ends = await asyncio.gather(
            *(self._add_alarms(name, *one) for name, one in zip(names, told, strict=True))
        )
        return dict(zip(names, ends, strict=True))

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()

    async def _read(self, name: str, revision: int) -> tuple[int, MemberEnd]:
        """The member's id, and what it says."""
        client, exits = self._clients[name], self._exits_of(name)
        try:
            return await _persist(partial(self._look, client, revision, exits))
        except RpcError as error:
            return 0, MemberEnd(exits=exits, error=str(error))

    async def _look(
        self, client: EtcdClient, revision: int, exits: tuple[MemberExit, ...] | None
    ) -> tuple[int, MemberEnd]:
        # The read first: linearizable, so a member that answers it has caught up with the others. Where the newest
        # was asked for, a lease may end before the next question.
        read, content = await client.range_all(self._prefix, revision)
        hashed = await client.hash_kv(read)
        health = await client.status()
        return health.member_id, MemberEnd(
            revision=health.revision,
            applied_index=health.applied_index,
            raft_term=health.term,
            hash=hashed.hash,
            hash_revision=hashed.revision,
            compact_revision=hashed.compact_revision,
            content=content,
            exits=exits,
        )

    async def _add_alarms(self, name: str, member_id: int, end: MemberEnd) -> MemberEnd:
        if end.error is not None:
            return end
        try:
            alarms = await _persist(self._clients[name].alarms)
        except RpcError as error:
            return MemberEnd(exits=end.exits, error=str(error))
        own = {member_id, _WHOEVER}
        return replace(end, alarms=tuple(alarm.kind for alarm in alarms if alarm.member_id in own))

    def _exits_of(self, name: str) -> tuple[MemberExit, ...] | None:
        if name in self._exits.silent:
            return None
        return tuple(_exit(at_ns, record) for host, at_ns, record in self._exits.exits if host == name)


async def _persist(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """A connection that the last fault broke is found out by the first who uses it."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await call()
        except RpcError as error:
            if error.code is not StatusCode.UNAVAILABLE:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)
    return await call()


def _differ(ends: Mapping[str, MemberEnd]) -> bool:
    return len({(end.revision, end.hash_revision) for end in ends.values() if end.error is None}) > 1


def _exit(at_ns: int, record: ExitRecord) -> MemberExit:
    return MemberExit(
        at=at_ns,
        expected=record.expected,
        cause=record.cause,
        code=record.code,
        signal=record.signal,
        log_tail=record.log_tail,
    )
