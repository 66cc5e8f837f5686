"""Acknowledged changes of a history: what etcd promised to keep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.keyorder import KeyOrder
from tester.history.columns import NONE, Kind, LeafCol, OpCol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tester.history.history import History
    from tester.history.table import Columns


@dataclass(frozen=True, slots=True)
class Change:
    """One acknowledged change of a key."""

    operation: int
    revision: int
    slot: int
    value: int
    """``NONE``: a deletion."""
    lease: int = 0


class Acknowledged:
    """Leaves of acknowledged operations that changed something, each with its operation's revision."""

    def __init__(self, history: History, answered_by: int, up_to: int) -> None:
        """Those that were answered by a time at which none was in flight, or have a revision up to ``up_to``.

        When they were called says less: of a load host's operation that may be told too early, and its end too late.
        """
        operations = history.operations
        self.history = history
        self.order = KeyOrder(history.keys.texts)
        ops = operations.rows.columns
        leaves = operations.leaves.columns
        owner = leaves[LeafCol.OP]
        kind, count = leaves[LeafCol.KIND], leaves[LeafCol.COUNT]
        changed = (kind == Kind.PUT) | ((kind == Kind.DELETE) & (count > 0))
        chosen = np.flatnonzero(
            changed & ((ops[OpCol.RET, owner] <= answered_by) | (ops[OpCol.REV, owner] <= up_to))
        )
        self.leaves: Columns = leaves[:, chosen]
        self.operation: Columns = ops[OpCol.ID, owner[chosen]]
        self.revision: Columns = ops[OpCol.REV, owner[chosen]]
        self.wrote: Columns = ops[OpCol.WROTE, owner[chosen]]
        self.is_put: NDArray[np.bool_] = self.leaves[LeafCol.KIND] == Kind.PUT

    def __len__(self) -> int:
        return int(self.revision.size)

    @cached_property
    def revoked(self) -> dict[int, int]:
        """Leases that were revoked, with the revision at which they surely were."""
        operations = self.history.operations
        leaves, ops = operations.leaves.columns, operations.rows.columns
        rows = np.flatnonzero(leaves[LeafCol.KIND] == Kind.REVOKE)
        revisions = ops[OpCol.REV, leaves[LeafCol.OP, rows]]
        return dict(zip(leaves[LeafCol.LEASE, rows].tolist(), revisions.tolist(), strict=True))

    @cached_property
    def is_ranged(self) -> NDArray[np.bool_]:
        """Deletions of ``[key, end)``: which keys went is not in the answer."""
        ranged: NDArray[np.bool_] = ~self.is_put & (self.leaves[LeafCol.END] != NONE)
        return ranged

    @cached_property
    def beyond(self) -> Columns:
        """Of each change, how many that its operation made may be of other people's keys, of which no watcher tells."""
        leaves, ranged = self.leaves, np.flatnonzero(self.is_ranged)
        keys, ends = leaves[LeafCol.KEY, ranged], leaves[LeafCol.END, ranged]
        loose = ranged[~self.order.inside(keys, ends, self.history.prefix)]
        most = np.zeros(len(self.history.operations), dtype=np.int64)
        np.add.at(most, leaves[LeafCol.OP, loose], leaves[LeafCol.COUNT, loose])
        found: Columns = most[leaves[LeafCol.OP]]
        return found

    def last_changes(self, up_to: int) -> dict[int, Change]:
        """Per key its last acknowledged change at or below a revision, ranged deletions left out."""
        rows = np.flatnonzero(~self.is_ranged & (self.revision <= up_to))
        key, slot = self.leaves[LeafCol.KEY, rows], self.leaves[LeafCol.SLOT, rows]
        rows = rows[np.lexsort((slot, self.revision[rows], key))]
        keys = self.leaves[LeafCol.KEY, rows]
        last = rows[np.append(keys[1:] != keys[:-1], True)] if rows.size else rows
        return dict(zip(self.leaves[LeafCol.KEY, last].tolist(), self._changes(last), strict=True))

    def _changes(self, rows: Columns) -> list[Change]:
        columns = (
            self.operation[rows],
            self.revision[rows],
            self.leaves[LeafCol.SLOT, rows],
            self.leaves[LeafCol.VALUE, rows],  # NONE for deletions
            self.leaves[LeafCol.LEASE, rows],
        )
        return [Change(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def last_ranged_deletions(self, up_to: int) -> dict[int, Change]:
        """Per key the last acknowledged deletion of a range around it, at or below a revision."""
        rows = np.flatnonzero(self.is_ranged & (self.revision <= up_to))
        rows = rows[np.argsort(self.revision[rows], kind="stable")]
        low, high = self.order.spans(self.leaves[LeafCol.KEY, rows], self.leaves[LeafCol.END, rows])
        newest = np.full(len(self.order.rank), NONE, dtype=np.int64)
        for row, first, after in zip(rows, low, high, strict=True):
            newest[first:after] = row
        covered = np.flatnonzero(newest != NONE)
        return dict(zip(self.order.by_rank[covered].tolist(), self._changes(newest[covered]), strict=True))
