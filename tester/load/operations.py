"""What clients ask for: a mix as data, and a source of operations drawn from it with a seed. Pure."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING

from tester.history.records import Compare, Delete, Put, Range, RangeResult, Result, Txn, TxnResult
from tester.load import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tester.etcd.codec import KvOperation, LoadOperation


class OperationKind(StrEnum):
    """Operations a mix is made of."""

    PUT = "put"
    PUT_LARGE = "put-large"
    GET = "get"
    RANGE = "range"
    DELETE = "delete"
    DELETE_RANGE = "delete-range"
    TXN_TOGGLE = "txn-toggle"
    """Delete the key if it exists, else write it; with several keys, nested."""
    TXN_CAS = "txn-cas"
    """Write the key if it is unchanged since this client last saw it, else read it."""


class KeyDistribution(StrEnum):
    """How often which key is drawn."""

    UNIFORM = "uniform"
    ZIPF = "zipf"
    """The n-th key with probability in proportion to 1/n: a few hot keys, a long tail."""


@dataclass(frozen=True, slots=True)
class Mix:
    """A mix of operations over a key space of its own. Sizes in bytes; weights need not add up to 1."""

    weights: tuple[tuple[OperationKind, float], ...]
    keys: int
    value_size: int = 100
    large_value_size: int = 32_769
    range_keys: int = 20
    """Width of a range and of a delete range, in places of the key space: bounded and small."""
    txn_keys: int = 100
    """Transactions that toggle keys have this many, apart from the others."""
    txn_operations: int = 1
    """Keys of one such transaction."""
    distribution: KeyDistribution = KeyDistribution.UNIFORM


class OperationSource:
    """Operations of one client, drawn with its own generator: the same seed asks the same."""

    def __init__(self, mix: Mix, prefix: str, rng: Random, value_ids: Iterator[int]) -> None:
        """A source for one client.

        Args:
            mix: what to draw from.
            prefix: of every key.
            rng: owned by this source.
            value_ids: shared by all clients of a run: no two writes of a run write the same value.
        """
        self._mix = mix
        self._prefix = prefix
        self._rng = rng
        self._value_ids = value_ids
        self._seen: dict[str, int] = {}
        makers: dict[OperationKind, Callable[[], KvOperation]] = {
            OperationKind.PUT: self._put,
            OperationKind.PUT_LARGE: self._put_large,
            OperationKind.GET: self._get,
            OperationKind.RANGE: self._range,
            OperationKind.DELETE: self._delete,
            OperationKind.DELETE_RANGE: self._delete_range,
            OperationKind.TXN_TOGGLE: self._txn_toggle,
            OperationKind.TXN_CAS: self._txn_cas,
        }
        self._makers = [makers[kind] for kind, _ in mix.weights]
        self._bounds = list(accumulate(weight for _, weight in mix.weights))
        self._learns = any(kind is OperationKind.TXN_CAS for kind, _ in mix.weights)

    def draw(self) -> KvOperation:
        """The next operation."""
        return self._makers[bisect(self._bounds, self._rng.random() * self._bounds[-1])]()

    def learn(self, op: LoadOperation, revision: int, result: Result | None) -> None:
        """Take in an acknowledged answer: compare-and-swap needs the revisions it has seen."""
        if not self._learns:
            return
        if isinstance(op, Put):
            self._seen[op.k] = revision
        elif isinstance(op, Range) and isinstance(result, RangeResult) and not op.e:
            self._seen[op.k] = result.kv[0].m if result.kv else 0
        elif isinstance(op, Txn) and isinstance(result, TxnResult):
            self._learn_txn(op, revision, result)

    def _learn_txn(self, op: Txn, revision: int, result: TxnResult) -> None:
        branch = op.then if result.succeeded else op.orelse
        for inner, response in zip(branch, result.responses, strict=True):
            self.learn(inner, revision, None if isinstance(inner, Put) else response)

    def _place(self) -> int:
        if self._mix.distribution is KeyDistribution.ZIPF:
            # keys ** u has a density in proportion to 1/x on [1, keys]
            return int(self._mix.keys ** self._rng.random()) - 1
        return int(self._rng.random() * self._mix.keys)

    def _key(self) -> str:
        return f"{self._prefix}k{self._place():08d}"

    def _interval(self) -> tuple[str, str]:
        start = self._place()
        end = min(start + self._mix.range_keys, self._mix.keys)
        return f"{self._prefix}k{start:08d}", f"{self._prefix}k{end:08d}"

    def _value(self, size: int) -> str:
        return values.text(next(self._value_ids), size)

    def _put(self) -> Put:
        return Put(k=self._key(), v=self._value(self._mix.value_size))

    def _put_large(self) -> Put:
        return Put(k=self._key(), v=self._value(self._mix.large_value_size))

    def _get(self) -> Range:
        return Range(k=self._key())

    def _range(self) -> Range:
        start, end = self._interval()
        return Range(k=start, e=end)

    def _delete(self) -> Delete:
        return Delete(k=self._key())

    def _delete_range(self) -> Delete:
        start, end = self._interval()
        return Delete(k=start, e=end)

    def _txn_toggle(self) -> Txn:
        places = self._rng.sample(range(self._mix.txn_keys), self._mix.txn_operations)
        inner: tuple[Txn, ...] = ()
        for place in places:
            key = f"{self._prefix}t{place:08d}"
            inner = (
                Txn(
                    cmp=(Compare(k=key, target="version", op=">", x=0),),
                    then=(Delete(k=key), *inner),
                    orelse=(Put(k=key, v=self._value(self._mix.value_size)), *inner),
                ),
            )
        return inner[0]

    def _txn_cas(self) -> Txn:
        key = self._key()
        return Txn(
            cmp=(Compare(k=key, target="mod", op="=", x=self._seen.get(key, 0)),),
            then=(Put(k=key, v=self._value(self._mix.value_size)),),
            orelse=(Range(k=key),),
        )
