"""Transactions of one client, and what it remembers of keys to guard them with. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tester.history.records import (
    Compare,
    Delete,
    KeyValue,
    Put,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from tester.load import values
from tester.load.kinds import OperationKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tester.etcd.codec import LoadOperation
    from tester.load.keys import KeySpace
    from tester.load.operations import Mix

_REMEMBERED_KEYS = 10_000
_ABSENT = KeyValue(k="", v="", c=0, m=0, ver=0)


class Transactions:
    """Draws transactions. What was last seen of a key is right unless somebody else has changed it since."""

    GUARDED: ClassVar = frozenset(
        {
            OperationKind.TXN_CAS,
            OperationKind.TXN_RANGE,
            OperationKind.TXN_MIXED,
            OperationKind.CREATE,
            OperationKind.UPDATE,
            OperationKind.DELETE_GUARDED,
        }
    )
    """Operations that need ``learn``."""

    def __init__(self, mix: Mix, space: KeySpace, value: Callable[[int], str], rng: Random) -> None:
        self._mix = mix
        self._space = space
        self._value = value
        self._rng = rng
        self._seen: dict[str, KeyValue] = {}
        self._newest = 0

    def learn(self, op: LoadOperation, revision: int, result: Result | None) -> None:
        """Take in an acknowledged answer."""
        self._newest = max(self._newest, revision)
        if isinstance(op, Put):
            known = self._seen.get(op.k, _ABSENT)
            created, version = (known.c, known.ver + 1) if known.ver else (revision, 1)
            self._remember(KeyValue(k=op.k, v=op.v, c=created, m=revision, ver=version, l=op.l))
        elif isinstance(op, Delete):
            if not op.e:
                self._seen.pop(op.k, None)
        elif isinstance(op, Range) and isinstance(result, RangeResult):
            if not op.e and not result.kv:
                self._seen.pop(op.k, None)
            for found in result.kv:
                if not op.keys_only:
                    self._remember(found)
        elif isinstance(op, Txn) and isinstance(result, TxnResult):
            branch = op.then if result.succeeded else op.orelse
            for inner, response in zip(branch, result.responses, strict=True):
                self.learn(inner, revision, None if isinstance(inner, Put) else response)

    def toggle(self) -> Txn:
        """Delete a key that exists, write one that does not; several of them nested."""
        places = self._rng.sample(range(self._mix.txn_keys), self._mix.txn_operations)
        inner: tuple[Txn, ...] = ()
        for place in places:
            key = self._space.toggled(place)
            inner = (
                Txn(
                    cmp=(Compare(k=key, target="version", op=">", x=0),),
                    then=(Delete(k=key), *inner),
                    orelse=(self._put(key), *inner),
                ),
            )
        return inner[0]

    def swap(self) -> Txn:
        """Compare and swap on the mod revision."""
        key = self._space.key()
        return self._guarded(key, self._seen.get(key, _ABSENT).m, self._put(key))

    def create(self) -> Txn:
        """Write what is not there."""
        key = self._space.key()
        return self._guarded(key, 0, self._put(key))

    def update(self) -> Txn:
        """Write what is there, as last seen; a key never seen is guarded with a revision that none has."""
        key = self._space.key()
        return self._guarded(key, self._seen.get(key, _ABSENT).m or self._newest + 1, self._put(key))

    def delete(self) -> Txn:
        """Delete what is there, as last seen."""
        key = self._space.key()
        return self._guarded(key, self._seen.get(key, _ABSENT).m or self._newest + 1, Delete(k=key))

    def over_a_range(self) -> Txn:
        """Compare every key of a wide range with the newest revision seen."""
        start, end = self._space.interval(self._mix.compare_keys)
        return Txn(
            cmp=(Compare(k=start, e=end, target="mod", op="<", x=self._newest + 1),),
            then=(self._put(start),),
            orelse=(Range(k=start, e=end, count_only=True),),
        )

    def mixed(self) -> Txn:
        """Conditions of every kind, and everything a transaction can do. etcd refuses to put a key twice."""
        keys = self._space.apart(3)
        condition = self._condition(keys[0])
        start, end = self._space.interval(self._mix.range_keys)
        writes: tuple[Put | Delete, ...] = tuple(map(self._put, keys[1:]))
        inner = Txn(
            cmp=(self._condition(keys[-1]), Compare(k=start, e=end, target="version", op=">", x=0)),
            then=(self._put(keys[0]), Range(k=keys[0])),
            orelse=(Range(k=start, e=end), Delete(k=keys[0])),
        )
        return Txn(
            cmp=(condition,),
            then=(Range(k=keys[0]), *writes, inner, Range(k=start, e=end)),
            orelse=(Delete(k=start, e=end), Range(k=start, e=end, count_only=True), Range(k=keys[0])),
        )

    def _condition(self, key: str) -> Compare:
        """About the state in which the key was last seen: right as often as nobody else has been there."""
        known = self._seen.get(key, _ABSENT)
        known_as: list[tuple[str, str | int]] = [
            ("version", known.ver),
            ("create", known.c),
            ("mod", known.m),
            ("lease", known.l),
        ]
        # What a member made up or damaged is for the checkers to tell; nobody can ask for its bytes.
        if known.ver and values.is_whole(known.v):
            known_as.append(("value", known.v))
        target, x = self._rng.choice(known_as)
        # The order of values that begin alike is decided by their padding, which no history holds.
        operators = ("=", "!=") if target == "value" else ("=", "!=", "<", ">")
        return Compare(k=key, target=target, op=self._rng.choice(operators), x=x)

    def _guarded(self, key: str, mod: int, write: Put | Delete) -> Txn:
        return Txn(cmp=(Compare(k=key, target="mod", op="=", x=mod),), then=(write,), orelse=(Range(k=key),))

    def _put(self, key: str) -> Put:
        return Put(k=key, v=self._value(self._mix.value_size))

    def _remember(self, found: KeyValue) -> None:
        if found.k not in self._seen and len(self._seen) >= _REMEMBERED_KEYS:
            self._seen.pop(next(iter(self._seen)))
        self._seen[found.k] = found
