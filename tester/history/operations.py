"""Joined operations as columns: one row per operation, per executed leaf, per answered key, per condition."""

from __future__ import annotations

from typing import TypeAlias

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
    Compare,
    Delete,
    DeleteResult,
    Invoke,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Ok,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from tester.history.table import Interner, Table

Step: TypeAlias = Put | Range | Delete | Txn
StepResult: TypeAlias = PutResult | RangeResult | DeleteResult | TxnResult


def is_write(op: Operation) -> bool:
    """Whether the operation may change keys."""
    if isinstance(op, Txn):
        return any(is_write(step) for step in (*op.then, *op.orelse))
    return isinstance(op, Put | Delete | LeaseRevoke)


def is_local(op: Operation) -> bool:
    """Whether a member answers from its own state, perhaps a stale one.

    etcd treats a transaction so when both branches hold nothing but serializable ranges; it does not look at
    the comparisons, so a transaction with empty branches is local too.
    """
    if isinstance(op, Txn):
        return all(isinstance(step, Range) and step.s for step in (*op.then, *op.orelse))
    # The leader's lessor answers these outside the log: the revision in the header may lag behind.
    return (isinstance(op, Range) and op.s) or isinstance(op, LeaseKeepAlive | LeaseTimeToLive)


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

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, invoke: Invoke, ok: Ok, member: int) -> None:
        """Take an operation with its answer.

        Raises:
            ValueError: the answer is of another kind than the question.
        """
        row, first = len(self.rows), len(self.leaves)
        kind, wrote = self._add_step(row, invoke.op, ok.out, 0)
        local = is_local(invoke.op)
        self.rows.append(invoke.id, invoke.c, member, kind, invoke.at, ok.at, ok.rev, local, wrote, first)

    def row_of(self, operation_id: int) -> int | None:
        """The row of the operation with this id."""
        found = np.flatnonzero(self.rows.columns[OpCol.ID] == operation_id)
        return int(found[0]) if found.size else None

    def _add_step(self, row: int, op: Operation, out: Result | None, slot: int) -> tuple[Kind, int]:
        """Append the rows of ``op``, which ``slot`` changes precede. Returns its kind and its changes."""
        match op:
            case Put() if out is None or isinstance(out, PutResult):
                key, value = self.keys.number(op.k), self.values.number(op.v)
                self._leaf(row, Kind.PUT, key, NONE, value, op.l, slot)
                return Kind.PUT, 1
            case Range() if isinstance(out, RangeResult):
                self._add_range(row, op, out, slot)
                return Kind.RANGE, 0
            case Delete() if isinstance(out, DeleteResult):
                self._leaf(
                    row, Kind.DELETE, self.keys.number(op.k), self._end(op.e), NONE, 0, slot, out.deleted
                )
                return Kind.DELETE, out.deleted
            case Txn() if isinstance(out, TxnResult):
                return Kind.TXN, self._add_txn(row, op, out, slot)
            case _:
                return self._add_admin(row, op, out)

    def _add_admin(self, row: int, op: Operation, out: Result | None) -> tuple[Kind, int]:
        ttl = out.ttl if isinstance(out, LeaseResult) else 0
        match op:
            case Compact() if out is None:
                self._leaf(row, Kind.COMPACT, NONE, NONE, NONE, 0, 0, 0, op.r)
                return Kind.COMPACT, 0
            case LeaseGrant() if isinstance(out, LeaseResult):
                self._leaf(row, Kind.GRANT, NONE, NONE, NONE, op.l, 0, ttl)
                return Kind.GRANT, 0
            case LeaseKeepAlive() if isinstance(out, LeaseResult):
                self._leaf(row, Kind.KEEPALIVE, NONE, NONE, NONE, op.l, 0, ttl)
                return Kind.KEEPALIVE, 0
            case LeaseTimeToLive() if isinstance(out, LeaseResult):
                self._leaf(row, Kind.TTL, NONE, NONE, NONE, op.l, 0, ttl, limit=out.granted)
                return Kind.TTL, 0
            case LeaseRevoke() if out is None or isinstance(out, LeaseResult):
                self._leaf(row, Kind.REVOKE, NONE, NONE, NONE, op.l, 0)
                return Kind.REVOKE, NONE
            case _:
                answer = type(out).__name__ if out is not None else "nothing"
                raise ValueError(f"{type(op).__name__} answered with {answer}")

    def _add_range(self, row: int, op: Range, out: RangeResult, slot: int) -> None:
        flags = (
            (Flag.MORE if out.more else 0)
            | (Flag.KEYS_ONLY if op.keys_only else 0)
            | (Flag.COUNT_ONLY if op.count_only else 0)
        )
        leaf = len(self.leaves)
        key, end = self.keys.number(op.k), self._end(op.e)
        self._leaf(row, Kind.RANGE, key, end, NONE, 0, slot, out.count, op.r, op.n, flags)
        for kv in out.kv:
            key, value = self.keys.number(kv.k), self.values.number(kv.v)
            self.answers.append(leaf, key, value, kv.c, kv.m, kv.ver, kv.l)

    def _add_txn(self, row: int, op: Txn, out: TxnResult, slot: int) -> int:
        node = len(self.nodes)
        self.nodes.append(row, out.succeeded)
        for compare in op.cmp:
            self._compare(node, compare)
        steps = op.then if out.succeeded else op.orelse
        if len(steps) != len(out.responses):
            raise ValueError(f"{len(steps)} steps of a transaction answered with {len(out.responses)}")
        wrote = 0
        for step, response in zip(steps, out.responses, strict=True):
            wrote += self._add_step(row, step, response, slot + wrote)[1]
        return wrote

    def _compare(self, node: int, compare: Compare) -> None:
        x = self.values.number(compare.x) if isinstance(compare.x, str) else compare.x
        target, operator = TARGETS.index(compare.target), OPERATORS.index(compare.op)
        if isinstance(compare.x, str) != (compare.target == "value"):
            raise ValueError(f"{compare.target} is compared with {compare.x!r}")
        self.compares.append(node, self.keys.number(compare.k), self._end(compare.e), target, operator, x)

    def _leaf(
        self,
        row: int,
        kind: Kind,
        key: int,
        end: int,
        value: int,
        lease: int,
        slot: int,
        count: int = 0,
        at: int = 0,
        limit: int = 0,
        flags: int = 0,
    ) -> None:
        self.leaves.append(
            row, kind, key, end, value, lease, slot, count, at, limit, flags, len(self.answers)
        )

    def _end(self, end: str) -> int:
        return self.keys.number(end) if end else NONE
