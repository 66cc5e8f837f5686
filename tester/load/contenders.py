"""Clients that race for a lock, or campaign in an election, and write what only the holder may write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tester.history.records import ClaimRecord, Delete, LeaseRevoke, Put, TxnResult
from tester.load import values
from tester.recipes.session import Session
from tester.recipes.waiting import until_deleted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tester.clock import RunClock
    from tester.etcd.codec import Answer, LoadOperation
    from tester.etcd.endpoint import Endpoint
    from tester.history.records import ClaimState, KeyValue
    from tester.history.writer import Recorder
    from tester.load.client import Client
    from tester.load.pacer import Pacer
    from tester.recipes.contest import Contest, Standing, Ticket

_BACKOFF_SECONDS = 0.1
_WAIT_SECONDS = 1.0
"""Who waits looks again after this, watch or no watch: a contender is an observer, too."""
_MOST_STEPS = 3
_VALUE_SIZE = 16


class ContestKind(StrEnum):
    """What is contended for."""

    LOCK = "lock"
    ELECTION = "election"


@dataclass(frozen=True, slots=True)
class Contending:
    """What all contenders of a stresser have in common."""

    kind: ContestKind
    contest: Contest
    guard: str
    """The key that only the holder may write."""
    ttl: int
    rounds: int | None
    """How often each holds it; ``None``: until cancelled."""
    pacer: Pacer
    clock: RunClock
    recorder: Recorder
    value_ids: Iterator[int]
    lease_ids: Iterator[int]
    step: Callable[[], None]
    """Called for each time somebody held it: progress."""


class Contender:
    """One client: takes a place, waits for its turn, does what the holder does, leaves."""

    def __init__(
        self, shared: Contending, client: Client, keeper: Client, endpoint: Endpoint, rng: Random
    ) -> None:
        self._shared = shared
        self._contest = shared.contest
        self._client = client
        self._keeper = keeper
        self._endpoint = endpoint
        self._rng = rng
        self._session: Session | None = None

    async def run(self) -> None:
        """All rounds; or until cancelled."""
        held = 0
        try:
            while self._shared.rounds is None or held < self._shared.rounds:
                if await self._round():
                    held += 1
                    self._shared.step()
            if self._session is not None and self._session.alive:
                await self._ask(LeaseRevoke(self._session.lease))
        finally:
            if self._session is not None:
                await self._session.close()

    async def _round(self) -> bool:
        session = await self._live_session()
        if session is None:
            return False
        ticket = await self._contest.enter(self._ask, session.lease, self._value())
        if ticket is None:
            return False
        standing = await self._wait_for_turn(session, ticket)
        if standing is None:
            return False
        self._claim("held", ticket.key, ticket.revision, standing.revision)
        still_mine = await self._hold(session, ticket)
        self._claim("released" if still_mine else "lost", ticket.key, ticket.revision)
        if still_mine:
            await self._leave(session, ticket)
        return True

    async def _live_session(self) -> Session | None:
        if self._session is not None:
            if self._session.alive:
                return self._session
            await self._session.close()
        shared = self._shared
        self._session = Session(self._keeper.perform, next(shared.lease_ids), shared.ttl)
        return self._session if await self._session.open(self._ask) else None

    async def _wait_for_turn(self, session: Session, ticket: Ticket) -> Standing | None:
        """The standing that shows that it is this client's turn; ``None``: its place is lost."""
        while session.alive:
            standing = await self._contest.look(self._ask)
            if standing is None:
                continue
            if standing.owner is not None:
                self._observe(standing.owner, standing.revision)
            if self._contest.wins(ticket, standing):
                return standing
            if not self._contest.is_there(ticket, standing):
                await session.close()  # a lease whose key is gone is gone
                return None
            before = self._contest.predecessor(ticket, standing)
            if before is not None:
                await until_deleted(self._endpoint, before.k, standing.revision, _WAIT_SECONDS)
        return None

    async def _hold(self, session: Session, ticket: Ticket) -> bool:
        """Do what only the holder may do; whether it is still the holder, as far as it knows."""
        steps = [Put(self._shared.guard, self._value()) for _ in range(self._rng.randint(1, _MOST_STEPS))]
        if self._shared.kind is ContestKind.ELECTION:
            steps.insert(0, Put(ticket.key, self._value(), session.lease))  # it proclaims
        for step in steps:
            if not session.alive:
                return False
            answer = await self._ask(self._contest.fenced(ticket, step))
            if answer is not None and isinstance(answer.result, TxnResult) and not answer.result.succeeded:
                return False
        return session.alive

    async def _leave(self, session: Session, ticket: Ticket) -> None:
        while session.alive:
            if await self._ask(self._contest.fenced(ticket, Delete(ticket.key))) is not None:
                return

    async def _ask(self, op: LoadOperation) -> Answer | None:
        """One operation, when it is time for it; what fails is not to be repeated at once."""
        late = await self._client.turn(self._shared.pacer)
        answer = await self._client.perform(op, late)
        if answer is None:
            await asyncio.sleep(_BACKOFF_SECONDS)
        return answer

    def _observe(self, owner: KeyValue, seen: int) -> None:
        if self._shared.kind is ContestKind.ELECTION:
            self._claim("observed", owner.k, owner.c, seen, owner.v)

    def _claim(self, state: ClaimState, key: str, revision: int, seen: int = 0, value: str = "") -> None:
        shared = self._shared
        shared.recorder.write(
            ClaimRecord(
                at=shared.clock.now(),
                c=self._client.number,
                kind=shared.kind.value,
                name=self._contest.prefix,
                state=state,
                k=key,
                rev=revision,
                seen=seen,
                v=value,
                guard=shared.guard if state == "held" else "",
            )
        )

    def _value(self) -> str:
        return values.text(next(self._shared.value_ids), _VALUE_SIZE)
