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

# Looked up for every operation: a member of an IntEnum costs several times as much as an int.
_PUT, _DELETE, _RANGE = int(Kind.PUT), int(Kind.DELETE), int(Kind.RANGE)
_MORE, _KEYS_ONLY, _COUNT_ONLY = int(Flag.MORE), int(Flag.KEYS_ONLY), int(Flag.COUNT_ONLY)
_KINDS: dict[type[Operation], int] = {
    Put: _PUT,
    Delete: _DELETE,
    Range: _RANGE,
    Txn: int(Kind.TXN),
    Compact: int(Kind.COMPACT),
    LeaseGrant: int(Kind.GRANT),
    LeaseRevoke: int(Kind.REVOKE),
    LeaseTimeToLive: int(Kind.TTL),
    LeaseKeepAlive: int(Kind.KEEPALIVE),
}

Step: TypeAlias = Put | Range | Delete | Txn
StepResult: TypeAlias = PutResult | RangeResult | DeleteResult | TxnResult


def is_write(op: Operation) -> bool:
    """Whether the operation may change keys."""
    if isinstance(op, Txn):
        return any(is_write(step) for step in (*op.then, *op.orelse))
    return isinstance(op, Put | Delete | LeaseRevoke)


def range_flags(op: Range, out: RangeResult) -> int:
    """``LeafCol.FLAGS`` of a range."""
    return (out.more and _MORE) | (op.keys_only and _KEYS_ONLY) | (op.count_only and _COUNT_ONLY)


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


def _only_local(steps: tuple[Step, ...]) -> bool:
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

    def add(self, invoke: Invoke, ok: Ok, member: int) -> None:
        """Take an operation with its answer.

        Raises:
            ValueError: the answer is of another kind than the question.
        """
        op = invoke.op
        row, first = self.rows.size, self.leaves.size
        wrote = self._add_step(row, op, ok.out, 0)
        kind, local = _KINDS[type(op)], is_local(op)
        self.rows.append(invoke.id, invoke.c, member, kind, invoke.at, ok.at, ok.rev, local, wrote, first)

    def pack(self) -> None:
        """Make columns of what was added: they take less memory."""
        for table in self.tables:
            table.pack()

    def row_of(self, operation_id: int) -> int | None:
        """The row of the operation with this id."""
        found = np.flatnonzero(self.rows.columns[OpCol.ID] == operation_id)
        return int(found[0]) if found.size else None

    def _add_step(self, row: int, op: Operation, out: Result | None, slot: int) -> int:
        """Append the rows of ``op``, which ``slot`` changes precede. Returns how many it made."""
        if type(op) is Range and type(out) is RangeResult:
            self._add_range(row, op, out, slot)
            return 0
        if type(op) is Put and (out is None or type(out) is PutResult):
            key, value = self.keys.number(op.k), self.values.number(op.v)
            self.leaves.append(row, _PUT, key, NONE, value, op.l, slot, 0, 0, 0, 0, self.answers.size)
            return 1
        if type(op) is Txn and type(out) is TxnResult:
            return self._add_txn(row, op, out, slot)
        if type(op) is Delete and type(out) is DeleteResult:
            key, end, answer = self.keys.number(op.k), self._end(op.e), self.answers.size
            self.leaves.append(row, _DELETE, key, end, NONE, 0, slot, out.deleted, 0, 0, 0, answer)
            return out.deleted
        return self._add_admin(row, op, out)

    def _add_admin(self, row: int, op: Operation, out: Result | None) -> int:
        lease, count, at, limit = 0, 0, 0, 0
        match op:
            case Compact() if out is None:
                at = op.r
            case LeaseGrant() | LeaseKeepAlive() if isinstance(out, LeaseResult):
                lease, count = op.l, out.ttl
            case LeaseTimeToLive() if isinstance(out, LeaseResult):
                lease, count, limit = op.l, out.ttl, out.granted
            case LeaseRevoke() if out is None or isinstance(out, LeaseResult):
                lease = op.l
            case _:
                answer = type(out).__name__ if out is not None else "nothing"
                raise ValueError(f"{type(op).__name__} answered with {answer}")
        kind = _KINDS[type(op)]
        self.leaves.append(row, kind, NONE, NONE, NONE, lease, 0, count, at, limit, 0, self.answers.size)
        return NONE if kind == Kind.REVOKE else 0

    def _add_range(self, row: int, op: Range, out: RangeResult, slot: int) -> None:
        keys, values, answers = self.keys.numbers, self.values.numbers, self.answers
        leaf, answer = self.leaves.size, answers.size
        key, end, flags = keys.setdefault(op.k, len(keys)), self._end(op.e), range_flags(op, out)
        self.leaves.append(row, _RANGE, key, end, NONE, 0, slot, out.count, op.r, op.n, flags, answer)
        for kv in out.kv:
            key, value = keys.setdefault(kv.k, len(keys)), values.setdefault(kv.v, len(values))
            answers.new += (leaf, key, value, kv.c, kv.m, kv.ver, kv.l)
        answers.size = answer + len(out.kv)

    def _add_txn(self, row: int, op: Txn, out: TxnResult, slot: int) -> int:
        node = self.nodes.size
        self.nodes.append(row, out.succeeded)
        for compare in op.cmp:
            self._add_compare(node, compare)
        steps = op.then if out.succeeded else op.orelse
        if len(steps) != len(out.responses):
            raise ValueError(f"{len(steps)} steps of a transaction answered with {len(out.responses)}")
        wrote = 0
        for step, response in zip(steps, out.responses, strict=True):
            wrote += self._add_step(row, step, response, slot + wrote)
        return wrote

    def _add_compare(self, node: int, compare: Compare) -> None:
        x = self.values.number(compare.x) if isinstance(compare.x, str) else compare.x
        target, operator = TARGETS.index(compare.target), OPERATORS.index(compare.op)
        if isinstance(compare.x, str) != (compare.target == "value"):
            raise ValueError(f"{compare.target} is compared with {compare.x!r}")
        self.compares.append(node, self.keys.number(compare.k), self._end(compare.e), target, operator, x)

    def _end(self, end: str) -> int:
        return self.keys.number(end) if end else NONE
