"""Worlds in which the cluster is lost, once or more, and goes on from a snapshot that was taken under way."""

from __future__ import annotations

import copy
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.endstate import EndState, MemberEnd
from tester.history.records import (
    EpochRecord,
    Fail,
    Header,
    Info,
    Invoke,
    KeyValue,
    Ok,
    RestoredRecord,
    Watched,
    WatchEnd,
    WatchStart,
)
from tests.unit.checkers.world import MEMBERS, PREFIX, Mix, Run, World

if TYPE_CHECKING:
    from random import Random

    from tests.unit.checkers.model import Store


@dataclass
class DisasterWorld(World):
    """``run`` gives a history of ``epochs`` clusters."""

    epochs: int = 2
    bare: bool = False
    """The members of a new cluster do not tell what they began with."""
    _snapshot: tuple[Store, int, int] | None = None

    def run(self) -> Run:
        """Each epoch like a world of its own; the last one ends it in order."""
        self.records.append(Header(1, "run", 1, "world", 1, 0, PREFIX, MEMBERS))
        for _ in range(self.epochs - 1):
            self._lose_all(
                self._work(snapshot_at=self.mix.operations // 2, stop_at=self.mix.operations // 4) + 60
            )
        return self._ended(self._work(snapshot_at=-1, stop_at=-1))

    def _work(self, *, snapshot_at: int, stop_at: int) -> int:
        """Live until so many operations are left; when more are left than that, take the snapshot. The time then."""
        now = max(getattr(record, "at", 0) for record in self.records) + 1
        for watcher in range(self.mix.watchers):
            member = MEMBERS[watcher % 3]
            self.records.append(WatchStart(watcher, now, member, PREFIX, 1, "l", prev_kv=watcher == 0))
            self._delivered[watcher] = 0
        self._left = self.mix.operations
        for client in range(self.mix.clients):
            self._at(now, lambda then, client=client: self._invoke(then, client))
        self._snapshot = None
        while self._agenda and self._left > stop_at:
            now, _, action = heapq.heappop(self._agenda)
            action(now)
            self._advance_members()
            if self.mix.watchers and self.rng.random() < 0.3:
                self._deliver(now, self.rng.randrange(self.mix.watchers))
            if self._snapshot is None and self._left <= snapshot_at:
                # Asked for a little before, and whole a little later.
                self._snapshot = (copy.deepcopy(self.store), now - 1, now + self.rng.randint(0, 50))
        return now

    def _lose_all(self, now: int) -> None:
        assert self._snapshot is not None
        store, asked, taken = self._snapshot
        self._agenda.clear()
        asked_for = {record.id: record for record in self.records if isinstance(record, Invoke)}
        for record in self.records:
            if isinstance(record, Ok | Fail | Info):
                del asked_for[record.id]
        self.records += [Info(identifier, now, "UNAVAILABLE") for identifier in asked_for]
        self.records += [WatchEnd(watcher, now, "UNAVAILABLE") for watcher in range(self.mix.watchers)]
        number = 2 + sum(isinstance(record, EpochRecord) for record in self.records)
        self.records.append(EpochRecord(now + 1, number, store.revision, "m1", asked, taken))
        self.store = store
        self._member_revision = dict.fromkeys(MEMBERS, store.revision)
        if not self.bare:
            content = content_of(store)
            self.records += [RestoredRecord(now + 2, member, store.revision, content) for member in MEMBERS]

    def _ended(self, now: int) -> Run:
        self._member_revision = dict.fromkeys(MEMBERS, self.store.revision)
        for watcher in range(self.mix.watchers):
            self._deliver(now + 1, watcher)
            self.records.append(Watched(watcher, now + 2, self.store.revision))
        revision = self.store.revision
        member = MemberEnd(revision, revision, 1, 99, revision, 1, content_of(self.store), exits=())
        return Run(self.records, EndState(now + 10, dict.fromkeys(MEMBERS, member)), self.store)


def content_of(store: Store) -> tuple[KeyValue, ...]:
    return tuple(store.live[key] for key in sorted(store.live) if key.startswith(PREFIX))


def simulate_disaster(rng: Random, mix: Mix, epochs: int = 2, *, bare: bool = False) -> Run:
    return DisasterWorld(rng, mix, epochs=epochs, bare=bare).run()
