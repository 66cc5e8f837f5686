"""Histories of concurrent clients of the right store: intervals, unknown outcomes, slow members, watchers."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tester.history.endstate import EndState, MemberEnd
from tester.history.history import History
from tester.history.operations import is_local, is_write
from tester.history.records import (
    Compact,
    Compare,
    Delete,
    Fail,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    LeaseGrant,
    LeaseRevoke,
    Ok,
    Operation,
    Put,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
    Watched,
    WatchEnd,
    WatchStart,
)
from tests.unit.checkers.model import RefusedError, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

MEMBERS = ("m1", "m2", "m3")
PREFIX = "k"


@dataclass(frozen=True)
class Mix:
    """What the clients do."""

    operations: int = 60
    clients: int = 4
    keys: int = 4
    unknown: float = 0.1
    """Share of operations with an unknown outcome."""
    txns: float = 0.2
    ranges: float = 0.2
    deletes: float = 0.15
    leases: float = 0.1
    serializable: float = 0.1
    watchers: int = 3
    foreign: float = 0.05
    """Chance, per operation, that somebody writes outside the prefix."""
    breaks: float = 0.0
    """Chance, per delivery, that a watcher reconnects; every other time after a compaction, with a gap."""
    pinned: bool = False
    """Begin with a read of the empty store."""
    same_values: bool = False
    """Values repeat, so that a value does not tell its author."""


@dataclass
class Run:
    """A generated history with its end state."""

    records: list[HistoryRecord]
    end: EndState
    store: Store

    @property
    def history(self) -> History:
        return History(self.records)


@dataclass
class World:
    rng: Random
    mix: Mix
    store: Store = field(default_factory=Store)
    records: list[HistoryRecord] = field(default_factory=list)
    _agenda: list[tuple[int, int, Callable[[int], None]]] = field(default_factory=list)
    _sequence: int = 0
    _ids: int = 0
    _left: int = 0
    _values: int = 0
    _member_revision: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MEMBERS, 1))
    _delivered: dict[int, int] = field(default_factory=dict)
    _leases: int = 100

    def run(self) -> Run:
        self.records.append(Header(1, "run", 1, "world", 1, 0, PREFIX, MEMBERS))
        self._member_revision = dict.fromkeys(MEMBERS, self.store.revision)
        begun = self.store.revision if self.store.events else 0
        for watcher in range(self.mix.watchers):
            self.records.append(
                WatchStart(watcher, 0, MEMBERS[watcher % 3], PREFIX, begun + 1, "l", prev_kv=watcher == 0)
            )
            self._delivered[watcher] = begun
        if self.mix.pinned:
            # A first answer at revision 1 says that there was nothing before.
            self._ids = 1
            self.records.append(Invoke(1, 0, 0, "m1", Range(PREFIX, "l")))
            self.records.append(Ok(1, 1, 1, 1, RangeResult()))
        self._left = self.mix.operations
        for client in range(self.mix.clients):
            self._at(2, lambda now, client=client: self._invoke(now, client))
        now = 0
        while self._agenda:
            now, _, action = heapq.heappop(self._agenda)
            action(now)
            self._advance_members()
            if self.mix.watchers and self.rng.random() < 0.3:
                self._deliver(now, self.rng.randrange(self.mix.watchers))
        self._member_revision = dict.fromkeys(MEMBERS, self.store.revision)
        for watcher in range(self.mix.watchers):
            self._deliver(now + 1, watcher)
            self.records.append(Watched(watcher, now + 2, self.store.revision))
        content = tuple(self.store.live[key] for key in sorted(self.store.live) if key.startswith(PREFIX))
        revision = self.store.revision
        member = MemberEnd(revision, revision, 1, 99, revision, 1, content, exits=())
        return Run(
            self.records, EndState(now + 10, dict.fromkeys(MEMBERS, member), gap_limit=1.0), self.store
        )

    def _at(self, now: int, action: Callable[[int], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._agenda, (now + self.rng.randint(1, 40), self._sequence, action))

    def _invoke(self, now: int, client: int) -> None:
        if self._left == 0:
            return
        self._left -= 1
        self._ids += 1
        if self.rng.random() < self.mix.foreign:
            self.store.apply(Put("other", self._value()))
        invoke = Invoke(self._ids, now, client, self.rng.choice(MEMBERS), self._operation())
        self.records.append(invoke)
        if self.rng.random() < self.mix.unknown:
            self._at(now, lambda then: self._lose(then, invoke))
            if self.rng.random() < 0.6:
                self._at(now, lambda then: self._apply_unheard(then, invoke))
        else:
            self._at(now, lambda then: self._apply(then, invoke))

    def _lose(self, now: int, invoke: Invoke) -> None:
        self.records.append(Info(invoke.id, now, "DEADLINE_EXCEEDED"))
        self._at(now, lambda then: self._invoke(then, invoke.c))

    def _apply_unheard(self, _now: int, invoke: Invoke) -> None:
        if is_write(invoke.op):
            try:
                self.store.apply(invoke.op)
            except RefusedError:
                return

    def _apply(self, now: int, invoke: Invoke) -> None:
        try:
            revision, out = self._answer(invoke)
        except RefusedError as error:
            text = str(error)
            self._at(now, lambda then: self._fail(then, invoke, text))
            return
        self._at(now, lambda then: self._return(then, invoke, revision, out))

    def _answer(self, invoke: Invoke) -> tuple[int, Result | None]:
        if not is_local(invoke.op):
            revision, out = self.store.apply(invoke.op)
            self._member_revision[invoke.m] = revision
            return revision, out
        revision = self._member_revision[invoke.m]
        if isinstance(invoke.op, Range):
            return revision, self.store.read(invoke.op, revision)
        assert isinstance(invoke.op, Txn)
        past = Store(revision, live=dict(self.store.states[revision]), states=self.store.states)
        return past.apply(invoke.op)

    def _fail(self, now: int, invoke: Invoke, text: str) -> None:
        code = "OUT_OF_RANGE" if "revision" in text else "NOT_FOUND"
        self.records.append(Fail(invoke.id, now, code, text))
        self._at(now, lambda then: self._invoke(then, invoke.c))

    def _return(self, now: int, invoke: Invoke, revision: int, out: Result | None) -> None:
        self.records.append(Ok(invoke.id, now, revision, 1, out))
        self._at(now, lambda then: self._invoke(then, invoke.c))

    def _advance_members(self) -> None:
        for member in MEMBERS:
            if self.rng.random() < 0.5:
                behind = self.store.revision - self._member_revision[member]
                self._member_revision[member] += self.rng.randint(0, behind)
        if self.mix.leases and self.store.leases and self.rng.random() < 0.02:
            self.store.expire(self.rng.choice(sorted(self.store.leases)))

    def _deliver(self, now: int, watcher: int) -> None:
        upto, since = self._member_revision[MEMBERS[watcher % 3]], self._delivered[watcher]
        events = [e for e in self.store.events if since < e.m <= upto and e.k.startswith(PREFIX)]
        if watcher != 0:
            events = [type(e)(e.k, e.m, e.v, e.c, e.ver, e.l, e.d) for e in events]
        if events or self.rng.random() < 0.2:
            self.records.append(Watched(watcher, now, max(upto, 1), tuple(events)))
        self._delivered[watcher] = upto
        if self.rng.random() < self.mix.breaks:
            self._reconnect(now, watcher)

    def _reconnect(self, now: int, watcher: int) -> None:
        start = self._delivered[watcher] + 1
        compacted = 0
        if self.rng.random() < 0.5 and self.store.revision > start:
            # What lies between was compacted while nobody was connected.
            compacted = start = self.rng.randint(start + 1, self.store.revision)
            member = MEMBERS[watcher % 3]
            self._member_revision[member] = max(self._member_revision[member], start)
            self._record_compaction(now, start)
        self.records.append(WatchEnd(watcher, now, "UNAVAILABLE", compacted))
        self.records.append(WatchStart(watcher, now, MEMBERS[watcher % 3], PREFIX, start, "l"))
        self._delivered[watcher] = start - 1

    def _record_compaction(self, now: int, revision: int) -> None:
        self._ids += 1
        self.store.compacted = max(self.store.compacted, revision)
        self.records.append(Invoke(self._ids, now, 99, "m1", Compact(revision)))
        outcome = self.rng.choice(("ok", "info", "open"))
        if outcome == "ok":
            self.records.append(Ok(self._ids, now, self.store.revision, 1))
        elif outcome == "info":
            self.records.append(Info(self._ids, now, "UNAVAILABLE"))

    # --- what clients ask for -----------------------------------------------------------------------------

    def _key(self) -> str:
        return f"{PREFIX}{self.rng.randrange(self.mix.keys)}"

    def _value(self) -> str:
        self._values += 1
        return f"{self.rng.randrange(3) if self.mix.same_values else self._values:04d}:4"

    def _span(self) -> tuple[str, str]:
        if self.rng.random() < 0.2:
            return self._key(), "l"
        low, high = sorted((self._key(), self._key()))
        return low, high + "\0"

    def _operation(self) -> Operation:
        chance = self.rng.random()
        for share, make in (
            (self.mix.txns, self._txn),
            (self.mix.ranges, self._range),
            (self.mix.leases, self._lease),
        ):
            if chance < share:
                return make()
            chance -= share
        return self._put() if self.rng.random() < 0.5 else self._simple()

    def _simple(self) -> Operation:
        if self.rng.random() < self.mix.deletes * 2:
            return self._delete()
        return Range(self._key(), s=self.rng.random() < self.mix.serializable)

    def _put(self) -> Put:
        lease = 0
        if self.mix.leases and self.store.leases and self.rng.random() < 0.3:
            lease = self.rng.choice(sorted(self.store.leases))
        return Put(self._key(), self._value(), lease)

    def _delete(self) -> Delete:
        return Delete(*self._span()) if self.rng.random() < 0.3 else Delete(self._key())

    def _range(self) -> Range:
        low, end = self._span()
        past = self.rng.randint(1, self.store.revision) if self.rng.random() < 0.2 else 0
        flags = self.rng.random()
        return Range(
            low,
            end,
            past,
            s=self.rng.random() < self.mix.serializable and not past,
            n=self.rng.randint(1, 3) if self.rng.random() < 0.4 else 0,
            keys_only=flags < 0.1,
            count_only=flags > 0.9,
        )

    def _lease(self) -> Operation:
        if self.store.leases and self.rng.random() < 0.4:
            return LeaseRevoke(self.rng.choice(sorted(self.store.leases)))
        self._leases += 1
        return LeaseGrant(self._leases, 60)

    def _txn(self, depth: int = 0) -> Txn:
        compares = tuple(self._compare() for _ in range(self.rng.randint(0, 2)))
        used: set[str] = set()
        return Txn(compares, self._branch(depth, used), self._branch(depth, set(used)))

    def _branch(self, depth: int, used: set[str]) -> tuple[Put | Range | Delete | Txn, ...]:
        """Steps as etcd admits them: no key put twice, nor put and deleted."""
        steps: list[Put | Range | Delete | Txn] = []
        for _ in range(self.rng.randint(0, 3)):
            chance = self.rng.random()
            if chance < 0.5:
                put = self._put()
                if put.k not in used:
                    used.add(put.k)
                    steps.append(put)
            elif chance < 0.65:
                free = [k for k in (f"{PREFIX}{n}" for n in range(self.mix.keys)) if k not in used]
                if free:
                    used.add(free[0])
                    steps.append(Delete(free[0]))
            elif chance < 0.9 or depth:
                steps.append(replace_range(self._range()))
            else:
                steps.append(self._nested(used))
        return tuple(steps)

    def _nested(self, used: set[str]) -> Txn:
        inner = self._txn(1)
        keys = {step.k for step in (*inner.then, *inner.orelse) if not isinstance(step, Txn | Range)}
        if keys & used:
            return Txn((), (Range(self._key()),))
        used |= keys
        return inner

    def _compare(self) -> Compare:
        target = self.rng.choice(("value", "version", "create", "mod", "lease"))
        operator = self.rng.choice(("=", "!=", "<", ">"))
        known = self.store.live.get(self._key())
        x: str | int
        if target == "value":
            x = known.v if known and self.rng.random() < 0.7 else self._value()
        elif target == "version":
            x = self.rng.randint(0, 3)
        elif target == "lease":
            x = known.l if known else 0
        else:
            x = known.m if known and self.rng.random() < 0.7 else self.rng.randint(0, self.store.revision)
        low, end = self._span() if self.rng.random() < 0.3 else (known.k if known else self._key(), "")
        return Compare(low, target, operator, x, end)


def replace_range(op: Range) -> Range:
    """Reads inside a transaction of ours are never serializable."""
    return Range(op.k, op.e, op.r, n=op.n, keys_only=op.keys_only, count_only=op.count_only)


def simulate(rng: Random, mix: Mix | None = None, store: Store | None = None) -> Run:
    """``store`` is as the clients find it: empty, if none is given."""
    return World(rng, mix or Mix(), store or Store()).run()


def old_store(rng: Random, keys: int = 2) -> Store:
    """One in which others have written and deleted, with and without leases, before anybody looked."""
    store = Store()
    for number in range(rng.randint(1, 6)):
        key = f"{PREFIX}{rng.randrange(keys)}"
        lease = rng.choice((0, 0, 50))
        if lease and lease not in store.leases:
            store.apply(LeaseGrant(lease, 60))
        store.apply(Put(key, f"{900 + number}:4", lease))
        if rng.random() < 0.2:
            store.apply(Delete(key))
    return store


def without_watchers(mix: Mix) -> Mix:
    return replace(mix, watchers=0)


__all__ = ["KeyValue", "Mix", "Run", "TxnResult", "simulate", "without_watchers"]
