"""What clients were told of each lease."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import Kind, KvCol, LeafCol, OpCol
from tester.history.operations import parts_of
from tester.history.records import LeaseGrant, LeaseKeepAlive, LeaseRevoke, Put
from tester.history.table import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.history import History
    from tester.history.records import Operation

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """One acknowledged operation about a lease. Times in nanoseconds on the run clock."""

    operation: int
    call: int
    ret: int
    revision: int
    ttl: int = 0
    """Seconds: granted, renewed for, or left."""
    granted: int = 0


@dataclass(frozen=True, slots=True)
class Death:
    """Somebody was told that the lease is gone."""

    at: int
    """By this time."""
    what: str
    asked: int = NEVER
    """When the operation that was told was called."""
    operations: tuple[int, ...] = ()
    revisions: tuple[int, ...] = ()
    weak: bool = False
    """Told from a leader's own memory: a deposed leader may say so, too."""


@dataclass(slots=True)
class Life:
    """All that is known of one lease."""

    lease: int
    grants: list[Told] = field(default_factory=list)
    renewals: list[Told] = field(default_factory=list)
    """Keepalives that were answered with a time to live."""
    asked: list[Told] = field(default_factory=list)
    """Questions for the time to live that were answered with one."""
    puts: list[Told] = field(default_factory=list)
    """Writes that attached a key."""
    shown: Told | None = None
    """The last answer that showed one of its keys as it was then."""
    revoked: list[Told] = field(default_factory=list)
    unknown_renewals: list[tuple[int, int]] = field(default_factory=list)
    """Call of a grant or renewal of unknown outcome, and when its client gave up."""
    unknown_grants: int = 0
    """Grants of unknown outcome: each may have brought it to life, whenever it was dead."""
    revocable_from: int = NEVER
    """When a revocation was first asked for that may have been done."""
    deaths: list[Death] = field(default_factory=list)

    @property
    def ttl_ns(self) -> int:
        """What it was granted for."""
        return self.grants[0].ttl * NS

    @property
    def seen_alive(self) -> int:
        """When somebody first knew that it was there: before, "there is no such lease" may be true."""
        signs = self.grants or (*self.renewals, *self.asked, *self.puts)
        return min((told.ret for told in signs), default=NEVER)


def lives_of(history: History) -> dict[int, Life]:
    """Every lease that any operation names, by its id."""
    lives: defaultdict[int, Life] = defaultdict(lambda: Life(0))
    _acknowledged(history, lives)
    unknown = [(invoke, info.at) for invoke, info in history.unknown_renewals]
    for invoke, given_up in [*unknown, *((invoke, NEVER) for invoke in history.unfinished())]:
        if isinstance(invoke.op, LeaseGrant | LeaseKeepAlive):
            life = lives[invoke.op.l]
            life.unknown_renewals.append((invoke.at, given_up))
            life.unknown_grants += isinstance(invoke.op, LeaseGrant)
    for invoke in history.unknown_writes():
        if isinstance(invoke.op, LeaseRevoke):
            life = lives[invoke.op.l]
            life.revocable_from = min(life.revocable_from, invoke.at)
    for invoke, fail in history.lease_refusals:
        leases = set(_leases_in(invoke.op))
        if len(leases) == 1:
            what = f"{history.describe(invoke.id)} ({fail.text})"
            lives[leases.pop()].deaths.append(Death(fail.at, what, invoke.at, (invoke.id,)))
    _shown(history, lives)
    for lease, life in lives.items():
        life.lease = lease
    return dict(lives)


def _acknowledged(history: History, lives: dict[int, Life]) -> None:
    leaves, ops = history.operations.leaves.columns, history.operations.rows.columns
    of_lease = (leaves[LeafCol.KIND] >= Kind.GRANT) | (
        (leaves[LeafCol.KIND] == Kind.PUT) & (leaves[LeafCol.LEASE] != 0)
    )
    rows = np.flatnonzero(of_lease)
    columns = (LeafCol.KIND, LeafCol.LEASE, LeafCol.COUNT, LeafCol.LIMIT)
    told = (OpCol.ID, OpCol.CALL, OpCol.RET, OpCol.REV)
    owner = leaves[LeafCol.OP, rows]
    for kind, lease, ttl, granted, operation, call, ret, revision in zip(
        *(leaves[column, rows].tolist() for column in columns),
        *(ops[column, owner].tolist() for column in told),
        strict=True,
    ):
        _take(history, lives[lease], Kind(kind), Told(operation, call, ret, revision, ttl, granted))


def _take(history: History, life: Life, kind: Kind, told: Told) -> None:
    match kind:
        case Kind.PUT:
            life.puts.append(told)
        case Kind.GRANT:
            life.grants.append(told)
        case Kind.REVOKE:
            life.revoked.append(told)
            life.revocable_from = min(life.revocable_from, told.call)
        case Kind.KEEPALIVE if told.ttl > 0:
            life.renewals.append(told)
        case Kind.TTL if told.ttl >= 0:
            life.asked.append(told)
        case _:
            what = f"{history.describe(told.operation)}: there is no such lease"
            weak = kind is Kind.TTL
            life.deaths.append(Death(told.ret, what, told.call, (told.operation,), weak=weak))


def _shown(history: History, lives: dict[int, Life]) -> None:
    """Reads of keys with a lease: whoever reads the newest state sees no key of the dead."""
    answers, leaves = history.operations.answers.columns, history.operations.leaves.columns
    ops = history.operations.rows.columns
    rows = np.flatnonzero(answers[KvCol.LEASE] != 0)
    leaf = answers[KvCol.LEAF, rows]
    owner = leaves[LeafCol.OP, leaf]
    newest = (leaves[LeafCol.AT, leaf] == 0) & (ops[OpCol.LOCAL, owner] == 0)
    lease, owner = answers[KvCol.LEASE, rows[newest]], owner[newest]
    order = np.lexsort((ops[OpCol.CALL, owner], lease))
    lease, owner = lease[order], owner[order]
    last = np.flatnonzero(np.append(lease[1:] != lease[:-1], True)[: lease.size])
    told = (OpCol.ID, OpCol.CALL, OpCol.RET, OpCol.REV)
    for number, *times in zip(
        lease[last].tolist(), *(ops[column, owner[last]].tolist() for column in told), strict=True
    ):
        if number in lives:
            lives[number].shown = Told(*times)


def _leases_in(op: Operation) -> Iterator[int]:
    for part in parts_of(op):
        if isinstance(part, LeaseRevoke) or (isinstance(part, Put) and part.l):
            yield part.l
