"""The end state: what every member says about itself while the load is paused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tester.etcd.client import EtcdClient
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError, StatusCode
from tester.history.endstate import CaseRecovery, EndState, MemberEnd, MemberExit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent_service.models import ExitRecord
    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.exits import ExitWatch

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
        names = list(self._clients)
        asked_ns, ends = self._clock.now(), await self._ask(revision)
        until_ns = self._clock.now() + _AGREE_NS
        while len({end.revision for end in ends if end.error is None}) > 1 and self._clock.now() < until_ns:
            # A lease may have ended when one member had been asked and another had not; so may the next.
            await asyncio.sleep(_PAUSE_SECONDS)
            asked_ns, ends = self._clock.now(), await self._ask(revision)
        return EndState(
            at=self._clock.now(),
            members=dict(zip(names, ends, strict=True)),
            recoveries=tuple(self._recoveries),
            asked=asked_ns,
        )

    async def _ask(self, revision: int) -> list[MemberEnd]:
        return await asyncio.gather(*(self._member(name, revision) for name in self._clients))

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()

    async def _member(self, name: str, revision: int) -> MemberEnd:
        exits, problem = self._exits_of(name), ""
        for _ in range(_ATTEMPTS):
            try:
                return await self._read(self._clients[name], revision, exits)
            except RpcError as error:
                problem = str(error)
                if error.code is not StatusCode.UNAVAILABLE:
                    break
            # A connection that the last fault broke is found out by the first who uses it.
            await asyncio.sleep(_PAUSE_SECONDS)
        return MemberEnd(exits=exits, error=problem)

    async def _read(
        self, client: EtcdClient, revision: int, exits: tuple[MemberExit, ...] | None
    ) -> MemberEnd:
        # The read first: linearizable, so a member that answers it has caught up with the others.
        _, content = await client.range_all(self._prefix, revision)
        hashed = await client.hash_kv(revision)
        health = await client.status()
        alarms = await client.alarms()
        return MemberEnd(
            revision=health.revision,
            applied_index=health.raft_index,
            raft_term=health.term,
            hash=hashed.hash,
            hash_revision=hashed.revision,
            compact_revision=hashed.compact_revision,
            content=content,
            alarms=tuple(alarm.kind for alarm in alarms if alarm.member_id in {health.member_id, _WHOEVER}),
            exits=exits,
        )

    def _exits_of(self, name: str) -> tuple[MemberExit, ...] | None:
        if name in self._exits.silent:
            return None
        return tuple(_exit(at_ns, record) for host, at_ns, record in self._exits.exits if host == name)


def _exit(at_ns: int, record: ExitRecord) -> MemberExit:
    return MemberExit(
        at=at_ns,
        expected=record.expected,
        cause=record.cause,
        code=record.code,
        signal=record.signal,
        log_tail=record.log_tail,
    )
