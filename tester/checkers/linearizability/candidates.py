"""Unknown writes, found by what they could have changed."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import NONE
from tester.history.operations import parts_of
from tester.history.records import Delete, LeaseRevoke, Put, Txn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tester.checkers.linearizability.calls import Row
    from tester.checkers.linearizability.replay import Replay
    from tester.history.records import Invoke, Operation
    from tester.history.table import Columns


class Candidates:
    """Finds the few operations that one change, of a revision's, can have come from.

    Whoever made a revision made each of its changes: any one of them will do to look for the author. A value tells
    most, so a put is asked about first.
    """

    def __init__(self, replay: Replay, unknown: Sequence[Invoke]) -> None:
        self._replay = replay
        self._by_put: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self._by_delete: defaultdict[int, list[int]] = defaultdict(list)
        self._by_lease: defaultdict[int, list[int]] = defaultdict(list)
        self._ranges: list[tuple[int, int, int]] = []
        """Key, end and operation of each range that was to be deleted."""
        for index, invoke in enumerate(unknown):
            self._enter(index, invoke.op)

    def of(self, rows: Sequence[Row]) -> Iterable[int]:
        """Candidates for a revision, each once."""
        for key, value, _, _ in rows:
            if value != NONE:
                return dict.fromkeys(self._by_put.get((key, value), ()))
        key, _, _, lease = rows[0]
        single, revoked = self._by_delete.get(key, ()), self._by_lease.get(lease, ())
        return dict.fromkeys((*single, *self._of_range(key), *revoked))

    def _enter(self, index: int, op: Operation) -> None:
        """Whatever key is named gets its number now: ranks of keys are for those that have one."""
        history = self._replay.history
        keys = history.keys.numbers
        for part in parts_of(op):
            match part:
                case Put():
                    key, value = keys[part.k], history.values.find(part.v)
                    if value is not None:
                        self._by_put[key, value].append(index)
                case Delete() if part.e:
                    self._ranges.append((keys[part.k], keys[part.e], index))
                case Delete():
                    self._by_delete[keys[part.k]].append(index)
                case LeaseRevoke():
                    self._by_lease[part.l].append(index)
                case Txn():
                    for compare in part.cmp:
                        _ = keys[compare.k], keys[compare.e] if compare.e else NONE

    def _of_range(self, key: int) -> Iterable[int]:
        if not self._ranges:
            return ()
        low, high, indexes = self._spans
        rank = self._replay.order.rank[key]
        found: list[int] = indexes[(low <= rank) & (rank < high)].tolist()
        return found

    @cached_property
    def _spans(self) -> tuple[Columns, Columns, Columns]:
        """First rank and rank after the last of each deleted range, and whose it is."""
        keys, ends, indexes = np.array(self._ranges, dtype=np.int64).T
        return (*self._replay.order.spans(keys, ends), indexes)
