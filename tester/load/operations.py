"""What clients ask for: a mix as data, and a source of operations drawn from it with a seed. Pure."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from tester.history.records import (
    Compact,
    Delete,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
    Result,
)
from tester.load import values
from tester.load.keys import KeySpace
from tester.load.kinds import KeyDistribution, OperationKind
from tester.load.leasepool import LeasePool
from tester.load.listing import Listing
from tester.load.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tester.etcd.codec import LoadOperation

_READ_BACK = 500
"""Reads at a revision go back this far at most from the newest that the client has seen."""


@dataclass(frozen=True, slots=True)
class Mix:
    """A mix of operations over a key space of its own. Sizes in bytes; weights need not add up to 1."""

    weights: tuple[tuple[OperationKind, float], ...]
    keys: int
    value_size: int = 100
    large_value_size: int = 32_769
    range_keys: int = 20
    """Width of a range and of a delete range, in places of the key space: bounded and small."""
    compare_keys: int = 20
    """Width of the ranges that transactions compare."""
    txn_keys: int = 100
    """Transactions that toggle keys have this many, apart from the others."""
    txn_operations: int = 1
    """Keys of one such transaction."""
    page_keys: int = 50
    """Limit of a page of a list."""
    keep_revisions: int = 20_000
    """Compactions leave at least this many."""
    list_watchers: int = 0
    """How many list and then watch, beside the clients, again and again."""
    distribution: KeyDistribution = KeyDistribution.UNIFORM


class OperationSource:
    """Operations of one client, drawn with its own generator: the same seed asks the same.

    What it asks also depends on what it was answered: ``learn`` takes that in.
    """

    def __init__(
        self, mix: Mix, prefix: str, rng: Random, value_ids: Iterator[int], lease_ids: Iterator[int]
    ) -> None:
        """A source for one client.

        Args:
            mix: what to draw from.
            prefix: of every key.
            rng: owned by this source.
            value_ids: shared by all clients of a run: no two writes of a run write the same value.
            lease_ids: likewise; none is used twice.
        """
        self._mix = mix
        self._rng = rng
        self._random = rng.random
        self._value_ids = value_ids
        self._space = KeySpace(prefix, mix.keys, mix.distribution, rng)
        self._txns = Transactions(mix, self._space, self._value, rng)
        self._listing = Listing(self._space, mix.page_keys)
        self._pool = LeasePool(lease_ids)
        self._newest = 0
        self._compactions = 0
        makers: dict[OperationKind, Callable[[], LoadOperation]] = {
            OperationKind.PUT: self._put,
            OperationKind.PUT_LARGE: self._put_large,
            OperationKind.GET: self._get,
            OperationKind.GET_SERIALIZABLE: self._get_serializable,
            OperationKind.GET_AT_REVISION: self._get_at_revision,
            OperationKind.RANGE: self._range,
            OperationKind.COUNT: self._count,
            OperationKind.LIST: self._listing.page,
            OperationKind.PUT_LEASE: self._put_lease,
            OperationKind.DELETE: self._delete,
            OperationKind.DELETE_RANGE: self._delete_range,
            OperationKind.TXN_TOGGLE: self._txns.toggle,
            OperationKind.TXN_CAS: self._txns.swap,
            OperationKind.TXN_RANGE: self._txns.over_a_range,
            OperationKind.TXN_MIXED: self._txns.mixed,
            OperationKind.CREATE: self._txns.create,
            OperationKind.UPDATE: self._txns.update,
            OperationKind.DELETE_GUARDED: self._txns.delete,
            OperationKind.COMPACT: self._compact,
        }
        self._makers = [makers[kind] for kind, _ in mix.weights]
        self._bounds = list(accumulate(weight for _, weight in mix.weights))
        self._total = self._bounds[-1]
        kinds = {kind for kind, _ in mix.weights}
        self._remembers = bool(kinds & Transactions.GUARDED)
        self._lists = OperationKind.LIST in kinds
        self._leases = OperationKind.PUT_LEASE in kinds

    def draw(self) -> LoadOperation:
        """The next operation."""
        return self._makers[bisect(self._bounds, self._random() * self._total)]()

    def learn(self, op: LoadOperation, revision: int, result: Result | None) -> None:
        """Take in an acknowledged answer: guards, pages and reads of the past need what was seen."""
        if revision > self._newest:
            self._newest = revision
        if self._leases and isinstance(op, LeaseGrant):
            self._pool.learn(op)
        if self._lists and isinstance(op, Range) and op.n:
            self._listing.learn(op, revision, result)
        if self._remembers:
            self._txns.learn(op, revision, result)

    def lost(self, op: LoadOperation) -> None:
        """The operation failed, or nobody knows: a list begins anew, a lease gets no more keys."""
        if self._leases and isinstance(op, Put) and op.l:
            self._pool.lost(op.l)
        if self._lists and isinstance(op, Range) and op.n:
            self._listing.restart()

    def _value(self, size: int) -> str:
        return values.text(next(self._value_ids), size)

    def _put(self) -> Put:
        return Put(k=self._space.key(), v=values.text(next(self._value_ids), self._mix.value_size))

    def _put_large(self) -> Put:
        return Put(k=self._space.key(), v=self._value(self._mix.large_value_size))

    def _put_lease(self) -> Put | LeaseGrant | LeaseRevoke:
        lease = self._pool.next()
        if not isinstance(lease, int):
            return lease
        return Put(self._space.key(), self._value(self._mix.value_size), lease)

    def _get(self) -> Range:
        return Range(k=self._space.key())

    def _get_serializable(self) -> Range:
        return Range(k=self._space.key(), s=True)

    def _get_at_revision(self) -> Range:
        back = int(self._rng.random() * min(_READ_BACK, self._newest))
        return Range(k=self._space.key(), r=max(0, self._newest - back))

    def _range(self) -> Range:
        start, end = self._space.interval(self._mix.range_keys)
        return Range(k=start, e=end)

    def _count(self) -> Range:
        return Range(k=self._space.first, e=self._space.end, count_only=True)

    def _delete(self) -> Delete:
        return Delete(k=self._space.key())

    def _delete_range(self) -> Delete:
        start, end = self._space.interval(self._mix.range_keys)
        return Delete(k=start, e=end)

    def _compact(self) -> Compact | Range:
        revision = self._newest - self._mix.keep_revisions
        if revision < 1:  # too young: look instead
            return self._get()
        self._compactions += 1
        return Compact(r=revision, physical=self._compactions % 2 == 0)
