"""Joined operations as columns: one row per operation, per executed leaf, per answered key, per condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import (
    NONE,
    OPERATORS,
    TARGETS,
    CompareCol,
    Flag,
    Kind,
    KvCol,
    LeafCol,
    NodeCol,
    OpCol,
)
from tester.history.records import (
    Compact,
    Delete,
    Invoke,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
    Ok,
    Operation,
    Put,
    Range,
    Result,
    Txn,
)
from tester.history.steps import Steps
from tester.history.table import Columns, Interner, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

# numpy takes a member of an IntEnum for an object, and compares slowly.
_PUT, _DELETE, _RANGE, _TXN, _REVOKE = map(int, (Kind.PUT, Kind.DELETE, Kind.RANGE, Kind.TXN, Kind.REVOKE))
_MORE, _KEYS_ONLY, _COUNT_ONLY = int(Flag.MORE), int(Flag.KEYS_ONLY), int(Flag.COUNT_ONLY)
_KINDS: dict[type, Kind] = {
    Put: Kind.PUT,
    Delete: Kind.DELETE,
    Range: Kind.RANGE,
    Txn: Kind.TXN,
    Compact: Kind.COMPACT,
    LeaseGrant: Kind.GRANT,
    LeaseRevoke: Kind.REVOKE,
    LeaseKeepAlive: Kind.KEEPALIVE,
    LeaseTimeToLive: Kind.TTL,
}
_TARGETS = {target: number for number, target in enumerate(TARGETS)}
_OPERATORS = {operator: number for number, operator in enumerate(OPERATORS)}
_OTHER_FIELDS = (LeafCol.LEASE, LeafCol.COUNT, LeafCol.AT, LeafCol.LIMIT)
"""Of ``Steps.others``."""
_LEAF_DEFAULTS = np.zeros((len(LeafCol), 1), dtype=np.int64)
_LEAF_DEFAULTS[[LeafCol.KEY, LeafCol.END, LeafCol.VALUE]] = NONE


def is_write(op: Operation) -> bool:
    """Whether the operation may change keys."""
    if isinstance(op, Txn):
        return any(is_write(step) for step in (*op.then, *op.orelse))
    return isinstance(op, Put | Delete | LeaseRevoke)


def parts_of(op: Operation) -> Iterator[Operation]:
    """An operation, and whatever it may do if it is a transaction: in either branch, nested ones included."""
    yield op
    if isinstance(op, Txn):
        for step in (*op.then, *op.orelse):
            yield from parts_of(step)


def puts_of(op: Operation) -> Iterator[Put]:
    """Every put that an operation may do."""
    return (part for part in parts_of(op) if isinstance(part, Put))


def kind_of(op: Operation) -> Kind:
    """What sort of operation it is."""
    return _KINDS[type(op)]


def revisions_of(op: Operation) -> list[int]:
    """The revisions that an operation asks for, in every branch."""
    return [part.r for part in parts_of(op) if isinstance(part, Range | Compact) and part.r]


def is_plain(op: Operation, out: Result | None) -> bool:
    """Whether the columns hold all of an operation and its answer."""
    if isinstance(op, Put):
        return out is None
    return isinstance(op, Range | Delete)


def is_local(op: Operation) -> bool:
    """Whether a member answers from its own state, perhaps a stale one.

    etcd treats a transaction so when both branches hold nothing but serializable ranges; it does not look at
    the comparisons, so a transaction with empty branches is local too.
    """
    if isinstance(op, Txn):
        return _only_local(op.then) and _only_local(op.orelse)
    # The leader's lessor answers these outside the log: the revision in the header may lag behind.
    return (isinstance(op, Range) and op.s) or isinstance(op, LeaseKeepAlive | LeaseTimeToLive)


def _only_local(steps: tuple[Put | Range | Delete | Txn, ...]) -> bool:
    for step in steps:  # noqa: SIM110 - a loop: a generator costs more than the whole operation
        if type(step) is not Range or not step.s:
            return False
    return True


class Operations:
    """Columns of the operations with outcome ``ok``; keys and values are numbers of the two interners."""

    def __init__(self, keys: Interner, values: Interner) -> None:
        self.keys = keys
        self.values = values
        self.rows = Table(OpCol)
        self.leaves = Table(LeafCol)
        self.answers = Table(KvCol)
        self.nodes = Table(NodeCol)
        self.compares = Table(CompareCol)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them."""
        return self.rows, self.leaves, self.answers, self.nodes, self.compares

    def __len__(self) -> int:
        return len(self.rows)

    def row_of(self, operation_id: int) -> int | None:
        """The row of the operation with this id."""
        found = np.flatnonzero(self.rows.columns[OpCol.ID] == operation_id)
        return int(found[0]) if found.size else None

    # A column at a time: a list comprehension costs a third of a row at a time, and what follows from other
    # columns is numpy's.
    def extend(self, invokes: list[Invoke], oks: list[Ok], members: Interner) -> None:
        """Take operations with their answers; some thousand at a time is fastest.

        Raises:
            HistoryMismatchError: an answer is of another kind than the question, or a number takes more than
                64 bits.
        """
        ops, ids = [invoke.op for invoke in invokes], [invoke.id for invoke in invokes]
        steps = Steps(ids)
        steps.add(range(len(ops)), ops, [ok.out for ok in oks])
        row, leaf, number = len(self.rows), len(self.leaves), members.numbers
        rows = self.rows.grow(len(ops))
        rows[OpCol.ID] = column(ids)
        rows[OpCol.CLIENT] = column([invoke.c for invoke in invokes])
        rows[OpCol.MEMBER] = column([number[invoke.m] for invoke in invokes])
        rows[OpCol.CALL] = column([invoke.at for invoke in invokes])
        rows[OpCol.RET] = column([ok.at for ok in oks])
        rows[OpCol.REV] = column([ok.rev for ok in oks])
        owners, kinds = column(steps.owners), rows[OpCol.KIND]
        kinds[:] = _TXN
        kinds[owners] = column(steps.kinds)
        kinds[column(steps.nodes)] = _TXN
        rows[OpCol.LOCAL] = 0
        rows[OpCol.LOCAL, owners[column(steps.kinds) == _RANGE]] = column([op.s for op in steps.ranges])
        if steps.nodes or steps.others:
            rest = np.flatnonzero(kinds >= _TXN)
            rows[OpCol.LOCAL, rest] = column([is_local(ops[place]) for place in rest.tolist()])
        first = np.searchsorted(owners, np.arange(len(ops) + 1))
        rows[OpCol.LEAF] = leaf + first[:-1]
        before = self._add_leaves(steps, row, owners, first)
        rows[OpCol.WROTE] = before[first[1:]] - before[first[:-1]]
        rows[OpCol.WROTE, kinds == _REVOKE] = NONE
        self._add_nodes(steps, row)

    def _add_leaves(self, steps: Steps, row: int, owners: Columns, first: Columns) -> Columns:
        """Rows of all steps. Returns how many changes there were before each, and one more: before the end."""
        keys, values = self.keys.numbers, self.values.numbers
        kinds, leaf = column(steps.kinds), len(self.leaves)
        leaves = self.leaves.grow(len(kinds))
        leaves[:] = _LEAF_DEFAULTS
        leaves[LeafCol.OP], leaves[LeafCol.KIND] = owners + row, kinds
        wrote, answered = np.zeros_like(kinds), np.zeros_like(kinds)
        if steps.puts:
            puts = np.flatnonzero(kinds == _PUT)
            leaves[LeafCol.KEY, puts] = column([keys[op.k] for op in steps.puts])
            leaves[LeafCol.VALUE, puts] = column([values[op.v] for op in steps.puts])
            leaves[LeafCol.LEASE, puts] = column([op.l for op in steps.puts])
            wrote[puts] = 1
        if steps.ranges:
            ranges = np.flatnonzero(kinds == _RANGE)
            self._fill_ranges(leaves, ranges, steps)
            answered[ranges] = column([len(out.kv) for out in steps.found])
        if steps.deletes:
            deletes = np.flatnonzero(kinds == _DELETE)
            leaves[LeafCol.KEY, deletes] = column([keys[op.k] for op, _ in steps.deletes])
            leaves[LeafCol.END, deletes] = column([keys[op.e] if op.e else NONE for op, _ in steps.deletes])
            leaves[LeafCol.COUNT, deletes] = wrote[deletes] = column(
                [out.deleted for _, out in steps.deletes]
            )
        if steps.others:
            told = zip(*steps.others, strict=True)
            for field, numbers in zip(_OTHER_FIELDS, told, strict=True):
                leaves[field, kinds > _TXN] = column(numbers)
        before = np.append(0, np.cumsum(wrote))
        leaves[LeafCol.SLOT] = before[:-1] - before[first[owners]]
        leaves[LeafCol.KV] = len(self.answers) + np.cumsum(answered) - answered
        told_by = np.repeat(np.arange(leaf, leaf + len(kinds)), answered)
        kvs = [kv for out in steps.found for kv in out.kv]
        fill_key_values(self.answers.grow(len(kvs)), told_by, kvs, keys, values)
        return before

    def _fill_ranges(self, leaves: Columns, places: Columns, steps: Steps) -> None:
        keys, asked, found = self.keys.numbers, steps.ranges, steps.found
        leaves[LeafCol.KEY, places] = column([keys[op.k] for op in asked])
        leaves[LeafCol.COUNT, places] = column([out.count for out in found])
        # Of most there is no more to say than of a plain read of a key, whose columns are the defaults.
        special = [
            (
                place,
                op,
                (out.more and _MORE) | (op.keys_only and _KEYS_ONLY) | (op.count_only and _COUNT_ONLY),
            )
            for place, op, out in zip(places.tolist(), asked, found, strict=True)
            if op.e or op.r or op.n or out.more or op.keys_only or op.count_only
        ]
        if special:
            where = column([place for place, _, _ in special])
            leaves[LeafCol.END, where] = column([keys[op.e] if op.e else NONE for _, op, _ in special])
            leaves[LeafCol.AT, where] = column([op.r for _, op, _ in special])
            leaves[LeafCol.LIMIT, where] = column([op.n for _, op, _ in special])
            leaves[LeafCol.FLAGS, where] = column([flags for _, _, flags in special])

    def _add_nodes(self, steps: Steps, row: int) -> None:
        if not steps.nodes:
            return
        keys, values, node, compares = self.keys.numbers, self.values.numbers, len(self.nodes), steps.compares
        nodes = self.nodes.grow(len(steps.nodes))
        nodes[NodeCol.OP] = column(steps.nodes) + row
        nodes[NodeCol.SUCCEEDED] = column(steps.succeeded)
        rows = self.compares.grow(len(compares))
        rows[CompareCol.NODE] = column(steps.compared) + node
        rows[CompareCol.KEY] = column([keys[c.k] for c in compares])
        rows[CompareCol.END] = column([keys[c.e] if c.e else NONE for c in compares])
        rows[CompareCol.TARGET] = column([_TARGETS[c.target] for c in compares])
        rows[CompareCol.OPERATOR] = column([_OPERATORS[c.op] for c in compares])
        rows[CompareCol.X] = column([values[c.x] if isinstance(c.x, str) else c.x for c in compares])


def fill_key_values(
    rows: Columns, owners: Columns, kvs: list[KeyValue], keys: dict[str, int], values: dict[str, int]
) -> None:
    """Write answered keys to ``KvCol`` columns; ``owners`` goes to the first."""
    rows[KvCol.LEAF] = owners
    rows[KvCol.KEY] = column([keys[kv.k] for kv in kvs])
    rows[KvCol.VALUE] = column([values[kv.v] for kv in kvs])
    rows[KvCol.CREATE] = column([kv.c for kv in kvs])
    rows[KvCol.MOD] = column([kv.m for kv in kvs])
    rows[KvCol.VERSION] = column([kv.ver for kv in kvs])
    rows[KvCol.LEASE] = column([kv.l for kv in kvs])
