"""Clients with leases and a small lessor that is right, or lies in one way: histories on a clock of seconds."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.records import (
    Fail,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    LeaderRecord,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Ok,
    Operation,
    Put,
    Result,
    Watched,
    WatchStart,
)
from tester.load.leases import LeaseMix, LeaseSource
from tests.unit.checkers.model import RefusedError, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NS = 1_000_000_000
ELECTION_NS = NS
MIX = LeaseMix(leases=2, keys=2, ttl=8, short_ttl=2, keepalive=0.5, value_size=8)


@dataclass
class Lessor:
    """etcd's leases: in the leader's memory, ended by it, every end a write."""

    rng: Random
    lie: str = ""
    store: Store = field(default_factory=Store)
    ttl: dict[int, int] = field(default_factory=dict)
    granted: dict[int, int] = field(default_factory=dict)
    """Of the dead, too."""
    expiry: dict[int, int] = field(default_factory=dict)

    def apply(self, op: Operation, now: int) -> tuple[int, Result | None]:
        self.tick(now)
        lied = self.rng.random() < 0.2
        match op:
            case LeaseGrant():
                revision, out = self.store.apply(op)
                self.ttl[op.l] = self.granted[op.l] = op.ttl
                share = 0.6 if self.lie == "ends early" else 1.0
                self.expiry[op.l] = now + int(op.ttl * NS * share)
                return revision, out
            case LeaseKeepAlive():
                return self.store.revision, LeaseResult(self._renew(op.l, now, lied=lied))
            case LeaseTimeToLive():
                return self.store.revision, self._left(op.l, now, lied=lied)
            case LeaseRevoke() if self.lie == "revokes nothing" and op.l in self.ttl:
                return self.store.revision, None
            case LeaseRevoke():
                revision, _ = self.store.apply(op)
                self._drop(op.l)
                return revision, None
            case Put() if op.l and op.l not in self.store.leases and self.lie == "keys for the dead":
                self.store.leases.add(op.l)
                answer = self.store.apply(op)
                self.store.leases.discard(op.l)
                return answer
            case Put() if op.l in self.ttl and self.lie == "refuses the living" and lied:
                raise RefusedError("lease not found")
            case _:
                return self.store.apply(op)

    def elect(self, now: int) -> None:
        """A new leader gives every lease its whole time again."""
        for lease in list(self.ttl):
            if self.lie == "an election forgets":
                self.store.expire(lease)
                self._drop(lease)
                continue
            if self.lie == "a new leader halves":
                self.ttl[lease] = max(1, self.ttl[lease] // 2)
            self.expiry[lease] = now + self.ttl[lease] * NS + ELECTION_NS

    def tick(self, now: int) -> None:
        over = [lease for lease, at in self.expiry.items() if at < now - self.rng.randrange(NS // 2)]
        for lease in over:
            if self.lie == "nothing ends":
                continue
            if self.lie == "keys live on":
                self.store.leases.discard(lease)
            else:
                self.store.expire(lease)
            self._drop(lease)

    def _drop(self, lease: int) -> None:
        del self.ttl[lease], self.expiry[lease]

    def _renew(self, lease: int, now: int, *, lied: bool) -> int:
        if lease not in self.ttl:
            return 8 if self.lie == "renews the dead" else 0
        if self.lie == "renews in words only":
            return self.ttl[lease]
        if self.lie == "does not know the living" and lied:
            return 0
        self.expiry[lease] = now + self.ttl[lease] * NS
        return self.ttl[lease]

    def _left(self, lease: int, now: int, *, lied: bool) -> LeaseResult:
        if lease not in self.ttl and lease in self.granted and self.lie == "tells of the dead":
            return LeaseResult(1, self.granted[lease])
        if lease not in self.ttl or (self.lie == "denies the living" and lied):
            return LeaseResult(-1)
        left = max(0, self.expiry[lease] - now) // NS
        if self.lie == "tells too little" and lied:
            left //= 3
        if self.lie == "tells too much" and lied:
            left += 20
        return LeaseResult(left, self.ttl[lease] + (5 if self.lie == "forgets the grant" else 0))


LIES = (
    "ends early",
    "revokes nothing",
    "keys for the dead",
    "refuses the living",
    "an election forgets",
    "a new leader halves",
    "nothing ends",
    "keys live on",
    "renews the dead",
    "tells of the dead",
    "renews in words only",
    "does not know the living",
    "denies the living",
    "tells too little",
    "tells too much",
    "forgets the grant",
)


@dataclass
class LeaseWorld:
    rng: Random
    lie: str = ""
    seconds: int = 45
    clients: int = 3
    unknown: float = 0.03
    elections: float = 0.0005
    """Chance per step."""
    records: list[HistoryRecord] = field(default_factory=list)

    def run(self) -> tuple[History, EndState]:
        self._lessor = Lessor(self.rng, self.lie)
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._order, self._ids = count(), count(1)
        self._now = self._delivered = 0
        value_ids, self._lease_ids = count(1), count(100)
        self.records.append(Header(1, "run", 1, "leases", 1, 0, "k", ("m1",)))
        self.records.append(LeaderRecord(0, "m1", 2))
        self.records.append(WatchStart(1, 0, "m1", "k", 1, "l"))
        for client in range(self.clients):
            source = LeaseSource(
                MIX, f"k{client}/", self.rng, value_ids, self._lease_ids, lambda: self._now / NS
            )
            self._in(NS // 20, lambda now, c=client, s=source: self._ask(now, c, s))
        while self._agenda and self._now < self.seconds * NS:
            self._now, _, action = heapq.heappop(self._agenda)
            action(self._now)
            if self.rng.random() < self.elections and self._now > NS:
                self._elect()
            if self.rng.random() < 0.3:
                self._deliver()
        self._lessor.tick(self._now)
        self._deliver()
        self.records.append(Watched(1, self._now + 1, self._lessor.store.revision))
        return History(self.records), EndState(self._now + 2, {})

    def _in(self, span: int, action: Callable[[int], None]) -> None:
        at = self._now + self.rng.randint(span // 4, span)
        heapq.heappush(self._agenda, (at, next(self._order), action))

    def _elect(self) -> None:
        self._lessor.elect(self._now)
        self.records.append(LeaderRecord(self._now + NS // 10, self.rng.choice(("m1", "m2")), 3))

    def _ask(self, now: int, client: int, source: LeaseSource) -> None:
        op = source.draw()
        if self.rng.random() < 0.05:  # somebody who does not know that it is dead, or does not care
            lease = self.rng.randint(100, max(100, next(self._lease_ids) - 1))
            op = self.rng.choice((LeaseKeepAlive(lease), LeaseTimeToLive(lease), LeaseRevoke(lease)))
            if self.rng.random() < 0.3:
                op = Put(f"k{client}/stray", f"{100_000 + next(self._ids)}:7", lease)
        invoke = Invoke(next(self._ids), now, client, "m1", op)
        self.records.append(invoke)
        self._in(NS // 50, lambda then: self._apply(then, invoke, source))

    def _apply(self, now: int, invoke: Invoke, source: LeaseSource) -> None:
        lost = self.rng.random() < self.unknown
        if lost and self.rng.random() < 0.5:
            self._end(Info(invoke.id, now + 1, "UNAVAILABLE"), invoke, source)
            return
        try:
            revision, out = self._lessor.apply(invoke.op, now)
        except RefusedError as error:
            text = f"etcdserver: requested {error}"
            self._in(
                NS // 50, lambda then: self._end(Fail(invoke.id, then, "NOT_FOUND", text), invoke, source)
            )
            return
        if lost:
            self._in(NS // 50, lambda then: self._end(Info(invoke.id, then, "UNAVAILABLE"), invoke, source))
            return

        def answered(then: int) -> None:
            source.learn(invoke.op, revision, out)
            self._end(Ok(invoke.id, then, revision, 2, out), invoke, source)

        self._in(NS // 50, answered)

    def _end(self, record: Ok | Fail | Info, invoke: Invoke, source: LeaseSource) -> None:
        self.records.append(record)
        self._in(NS // 10, lambda then: self._ask(then, invoke.c, source))

    def _deliver(self) -> None:
        events = [e for e in self._lessor.store.events if e.m > self._delivered]
        if events:
            self._delivered = events[-1].m
            self.records.append(Watched(1, self._now, self._delivered, tuple(events)))
