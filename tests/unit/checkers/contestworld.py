"""Contenders for a lock or an election on a store that is right, and the ways in which they, or it, can be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from tester.history.records import (
    ClaimRecord,
    Delete,
    DeleteResult,
    Event,
    Header,
    HistoryRecord,
    Invoke,
    Ok,
    Put,
    Watched,
    WatchStart,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NAME, GUARD = "kq/", "kguard"


@dataclass
class ContestWorld:
    rng: Random
    kind: str
    records: list[HistoryRecord] = field(default_factory=list)
    at: int = 0
    revision: int = 1
    ids: int = 0
    value: int = 0
    queue: list[tuple[int, str, int, str]] = field(default_factory=list)
    """Client, key, create revision, value."""
    holding: bool = False

    def run(self, steps: int = 120) -> list[HistoryRecord]:
        self.records.append(Header(1, "run", 1, "contest", 1, 0, "k", ("m1",)))
        self.records.append(WatchStart(1, 0, "m1", "k", 1, "l"))
        for _ in range(steps):
            self.step()
        self.records.append(Watched(1, self.tick(), self.revision))
        return self.records

    def step(self) -> None:
        chance = self.rng.random()
        waiting = {client for client, *_ in self.queue}
        free = [client for client in range(5) if client not in waiting]
        if free and (chance < 0.3 or not self.queue):
            self.enter(self.rng.choice(free))
        elif not self.holding:
            client, key, create, value = self.queue[0]
            self.observe(self.rng.randrange(5), key, create, value)
            self.claim(client, "held", key, create, self.revision)
            self.holding = True
        elif chance < 0.6:
            self.put(self.queue[0][0], GUARD)
        elif chance < 0.7:
            self.observe(self.rng.randrange(5), *self.queue[0][1:])
        elif chance < 0.75:
            self.lease_end()
        else:
            self.leave()

    def tick(self) -> int:
        self.at += 1_000_000
        return self.at

    def put(self, client: int, key: str) -> tuple[int, str]:
        self.ids, self.value, self.revision = self.ids + 1, self.value + 1, self.revision + 1
        value = f"{self.value}:4"
        self.records.append(Invoke(self.ids, self.tick(), client, "m1", Put(key, value)))
        self.records.append(Ok(self.ids, self.tick(), self.revision))
        self.watched(Event(key, self.revision, value, self.revision, 1))
        return self.revision, value

    def watched(self, event: Event) -> None:
        self.records.append(Watched(1, self.tick(), self.revision, (event,)))

    def enter(self, client: int) -> None:
        key = f"{NAME}{client}"
        self.queue.append((client, key, *self.put(client, key)))

    def leave(self) -> None:
        client, key, create, _ = self.queue.pop(0)
        self.claim(client, "released", key, create)
        self.holding = False
        self.delete(client, key)

    def delete(self, client: int, key: str, end: str = "") -> None:
        self.ids, self.revision = self.ids + 1, self.revision + 1
        self.records.append(Invoke(self.ids, self.tick(), client, "m1", Delete(key, end)))
        self.records.append(Ok(self.ids, self.tick(), self.revision, 1, DeleteResult(1)))
        self.watched(Event(key, self.revision, d=True))

    def lease_end(self) -> None:
        """The holder's key goes; it notices later that it has lost it."""
        client, key, create, _ = self.queue.pop(0)
        self.holding = False
        self.revision += 1
        self.watched(Event(key, self.revision, d=True))
        self.claim(client, "lost", key, create)

    def observe(self, client: int, key: str, create: int, value: str) -> None:
        if self.kind == "election":
            self.claim(client, "observed", key, create, self.revision, value)

    def claim(self, client: int, state: str, key: str, rev: int, seen: int = 0, value: str = "") -> None:
        guard = GUARD if state == "held" else ""
        self.records.append(
            ClaimRecord(self.tick(), client, self.kind, NAME, state, key, rev, seen, value, guard)
        )


def claims(records: list[HistoryRecord], *states: str) -> list[tuple[int, ClaimRecord]]:
    return [(n, r) for n, r in enumerate(records) if isinstance(r, ClaimRecord) and r.state in states]


def bent(rng: Random, records: list[HistoryRecord], state: str, **changes: object) -> list[HistoryRecord]:
    place, claim = rng.choice(claims(records, state))
    changed = {name: change(claim) if callable(change) else change for name, change in changes.items()}
    return [*records[:place], msgspec.structs.replace(claim, **changed), *records[place + 1 :]]


def held_too_early(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    return bent(rng, records, "held", seen=lambda claim: claim.rev - 1)


def another_token(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    return bent(rng, records, "held", rev=lambda claim: claim.rev + 1)


def a_key_that_is_not_there(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    return bent(rng, records, "held", k=f"{NAME}nobody")


def held_twice(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    place, claim = rng.choice(claims(records, "held"))
    return [*records[:place], claim, msgspec.structs.replace(claim, c=claim.c + 50), *records[place + 1 :]]


def granted_to_the_next_at_once(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    """Somebody who waits is told that it is their turn while another holds it."""
    held = claims(records, "held")
    found = [(n, one, two) for (n, one), (_, two) in pairwise(held) if two.rev < one.seen]
    place, one, two = rng.choice(found)
    early = msgspec.structs.replace(two, seen=one.seen, at=one.at)
    return [*records[:place], one, early, *records[place + 1 :]]


def _guard_writes(records: list[HistoryRecord]) -> list[int]:
    return [
        n
        for n, r in enumerate(records)
        if isinstance(r, Invoke) and isinstance(r.op, Put) and r.op.k == GUARD
    ]


def written_by_another(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    place = rng.choice(_guard_writes(records))
    invoke = records[place]
    assert isinstance(invoke, Invoke)
    return [*records[:place], msgspec.structs.replace(invoke, c=invoke.c + 50), *records[place + 1 :]]


def written_after_the_end(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    """One more holder, who writes when its key is gone."""
    world = ContestWorld(rng, claims(records, "held")[0][1].kind, list(records))
    last = next(r for r in reversed(records) if isinstance(r, Watched))
    world.revision, world.at, world.ids, world.value = last.rev, last.at, 10_000, 10_000
    world.enter(7)
    world.lease_end()
    world.put(7, GUARD)
    return world.records


def observed_another_leader(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    return bent(rng, records, "observed", k=f"{NAME}99")


def observed_the_one_before(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    seen = claims(records, "observed")
    later = [(n, one) for n, one in seen if any(two.rev < one.rev for _, two in seen)]
    place, claim = rng.choice(later)
    before = max((two for _, two in seen if two.rev < claim.rev), key=lambda two: two.rev)
    stale = msgspec.structs.replace(claim, k=before.k, rev=before.rev, v=before.v)
    return [*records[:place], stale, *records[place + 1 :]]


def observed_back_in_time(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    """An observer is shown what was true when it had been shown something later."""
    seen = claims(records, "observed")
    place, claim = rng.choice([(n, one) for n, one in seen if any(two.seen < one.seen for _, two in seen)])
    past = rng.choice([two for _, two in seen if two.seen < claim.seen])
    again = msgspec.structs.replace(past, c=claim.c, at=claim.at + 1)
    return [*records[: place + 1], again, *records[place + 1 :]]


def observed_another_value(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    return bent(rng, records, "observed", v="999999:4")


def deleted_by_another(rng: Random, records: list[HistoryRecord]) -> list[HistoryRecord]:
    """Somebody deletes what the lock guards."""
    world = ContestWorld(rng, claims(records, "held")[0][1].kind, list(records))
    last = next(r for r in reversed(records) if isinstance(r, Watched))
    world.revision, world.at, world.ids = last.rev, last.at, 10_000
    world.delete(77, GUARD, rng.choice(("", f"{GUARD}\0")))
    return world.records


LOCK_LIES: tuple[Callable[[Random, list[HistoryRecord]], list[HistoryRecord]], ...] = (
    held_too_early,
    another_token,
    a_key_that_is_not_there,
    held_twice,
    granted_to_the_next_at_once,
    written_by_another,
    written_after_the_end,
    deleted_by_another,
)
ELECTION_LIES = (
    *LOCK_LIES,
    observed_another_leader,
    observed_the_one_before,
    observed_another_value,
    observed_back_in_time,
)
