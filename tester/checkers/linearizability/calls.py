"""Operations as the rules see them: acknowledged ones, and unknown ones whose revision the evidence told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tester.history.columns import NONE, OPERATORS, TARGETS, CompareCol, Kind, KvCol, LeafCol, NodeCol, OpCol
from tester.history.keyranges import in_range
from tester.history.operations import kind_of
from tester.history.records import Compare, Delete, LeaseRevoke, Operation, Put, Range, Txn
from tester.history.table import NEVER, Columns, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tester.history.history import History
    from tester.history.records import Invoke

Row: TypeAlias = tuple[int, int, int, int]
"""A change in the log: key, value (``NONE``: deleted), lease, lease of the key before."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Columns as in ``tester.history.operations``; what was resolved comes last and returns ``NEVER``."""

    ops: Columns
    leaves: Columns
    answers: Columns
    nodes: Columns
    compares: Columns
    acknowledged: int
    """Operations before this row were acknowledged."""

    @staticmethod
    def of(history: History) -> Calls:
        """The acknowledged operations alone."""
        operations = history.operations
        return Calls(
            operations.rows.columns,
            operations.leaves.columns,
            operations.answers.columns,
            operations.nodes.columns,
            operations.compares.columns,
            len(operations.rows),
        )

    def extended(self, more: Calls) -> Calls:
        """These and those: row numbers of ``more`` are moved behind these."""
        if not more.ops.shape[1]:
            return self
        leaves, nodes, compares = more.leaves.copy(), more.nodes.copy(), more.compares.copy()
        leaves[LeafCol.OP] += self.ops.shape[1]
        leaves[LeafCol.KV] = self.answers.shape[1]
        nodes[NodeCol.OP] += self.ops.shape[1]
        compares[CompareCol.NODE] += self.nodes.shape[1]
        return Calls(
            np.concatenate([self.ops, more.ops], axis=1),
            np.concatenate([self.leaves, leaves], axis=1),
            self.answers,
            np.concatenate([self.nodes, nodes], axis=1),
            np.concatenate([self.compares, compares], axis=1),
            self.acknowledged,
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """One way in which an operation makes exactly the changes of a revision."""

    steps: tuple[tuple[Put | Delete | LeaseRevoke, int, int], ...] = ()
    """Steps that ran, each with the changes before it and its own."""
    nodes: tuple[tuple[Txn, bool], ...] = ()
    """Transactions that ran, and which way they went."""


class Fitter:
    """Whether an operation can have made the changes of a revision, judged by the changes alone.

    Conditions of transactions and the completeness of range deletions are left to the rules.
    """

    def __init__(self, history: History) -> None:
        self._keys = history.keys
        self._values = history.values

    def fits(self, op: Operation, rows: Sequence[Row]) -> list[Fit]:
        """All ways; usually none or one."""
        return [fit for place, fit in self._match(op, rows, 0, Fit()) if place == len(rows)]

    def _match(self, op: Operation, rows: Sequence[Row], place: int, fit: Fit) -> Iterator[tuple[int, Fit]]:
        match op:
            case Put():
                wanted = (self._keys.find(op.k), self._values.find(op.v), op.l)
                if place < len(rows) and rows[place][:3] == wanted:
                    yield place + 1, _with_step(fit, op, place, 1)
            case Delete():
                taken = place
                while taken < len(rows) and self._deletes(op, rows[taken]):
                    taken += 1
                yield taken, _with_step(fit, op, place, taken - place)
            case LeaseRevoke():
                if all(value == NONE and before == op.l for _, value, _, before in rows):
                    yield len(rows), _with_step(fit, op, 0, len(rows))
            case Txn():
                for succeeded, steps in ((True, op.then), (False, op.orelse)):
                    branch = Fit(fit.steps, (*fit.nodes, (op, succeeded)))
                    yield from self._match_all(steps, rows, place, branch)
            case Range():
                yield place, fit

    def _match_all(
        self, steps: Sequence[Put | Range | Delete | Txn], rows: Sequence[Row], place: int, fit: Fit
    ) -> Iterator[tuple[int, Fit]]:
        if not steps:
            yield place, fit
            return
        for after, longer in self._match(steps[0], rows, place, fit):
            yield from self._match_all(steps[1:], rows, after, longer)

    def _deletes(self, op: Delete, row: Row) -> bool:
        return row[1] == NONE and in_range(self._keys.texts[row[0]], op.k, op.e)


def _with_step(fit: Fit, op: Put | Delete | LeaseRevoke, slot: int, count: int) -> Fit:
    return Fit((*fit.steps, (op, slot, count)), fit.nodes)


class Resolved:
    """Collects unknown operations with the revision that was found for them, as columns."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ops = Table(OpCol)
        self._leaves = Table(LeafCol)
        self._nodes = Table(NodeCol)
        self._compares = Table(CompareCol)

    def add(self, invoke: Invoke, revision: int, fit: Fit) -> None:
        """One operation, applied at ``revision`` in the way of ``fit``."""
        row, first = len(self._ops), len(self._leaves)
        wrote = 0
        for op, slot, count in fit.steps:
            wrote += count
            self._leaf(row, op, slot, count)
        for txn, succeeded in fit.nodes:
            node = len(self._nodes)
            self._nodes.append(row, succeeded)
            for compare in txn.cmp:
                self._compare(node, compare)
        self._ops.append(
            invoke.id,
            invoke.c,
            NONE,
            kind_of(invoke.op),
            invoke.at,
            NEVER,
            revision,
            0,
            wrote,
            first,
        )

    def add_put(self, invoke: Invoke, revision: int, row: Row) -> None:
        """A plain put that made the one change of a revision."""
        key, value, lease, _ = row
        op, first = len(self._ops), len(self._leaves)
        self._leaves.append(op, Kind.PUT, key, NONE, value, lease, 0, 0, 0, 0, 0, 0)
        self._ops.append(invoke.id, invoke.c, NONE, Kind.PUT, invoke.at, NEVER, revision, 0, 1, first)

    def calls(self) -> Calls:
        """All that was added."""
        answers = np.empty((len(KvCol), 0), dtype=np.int64)
        columns = (
            self._ops.columns,
            self._leaves.columns,
            answers,
            self._nodes.columns,
            self._compares.columns,
        )
        return Calls(*columns, acknowledged=0)

    def _leaf(self, row: int, op: Put | Delete | LeaseRevoke, slot: int, count: int) -> None:
        keys, values = self._history.keys, self._history.values
        match op:
            case Put():
                key, value = keys.numbers[op.k], values.numbers[op.v]
                self._leaves.append(row, Kind.PUT, key, NONE, value, op.l, slot, 0, 0, 0, 0, 0)
            case Delete():
                key, end = keys.numbers[op.k], keys.numbers[op.e] if op.e else NONE
                self._leaves.append(row, Kind.DELETE, key, end, NONE, 0, slot, count, 0, 0, 0, 0)
            case LeaseRevoke():
                self._leaves.append(row, Kind.REVOKE, NONE, NONE, NONE, op.l, slot, count, 0, 0, 0, 0)

    def _compare(self, node: int, compare: Compare) -> None:
        keys = self._history.keys
        x = self._history.values.numbers[compare.x] if isinstance(compare.x, str) else compare.x
        end = keys.numbers[compare.e] if compare.e else NONE
        target, operator = TARGETS.index(compare.target), OPERATORS.index(compare.op)
        self._compares.append(node, keys.numbers[compare.k], end, target, operator, x)
