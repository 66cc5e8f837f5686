"""The replayed store: the change log with the counts over it, made when a rule first needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.keyorder import KeyOrder
from tester.checkers.linearizability.livecount import LeaseCount, LiveCount
from tester.history.columns import NONE, OpCol

if TYPE_CHECKING:
    from tester.checkers.linearizability.calls import Calls
    from tester.checkers.linearizability.changelog import ChangeLog
    from tester.history.history import History
    from tester.history.table import Columns, Mask


@dataclass(frozen=True)
class Replay:
    """State of every key at every place."""

    history: History
    log: ChangeLog

    @cached_property
    def order(self) -> KeyOrder:
        """Ranks of all keys; histories of single keys never need it."""
        return KeyOrder(self.history.keys.texts)

    @cached_property
    def live(self) -> LiveCount:
        """Counts of keys in ranges."""
        return LiveCount(self.log, self.order)

    @cached_property
    def leases(self) -> LeaseCount:
        """Counts of keys per lease."""
        return LeaseCount(self.log)

    def is_open(self, keys: Columns, rows: Columns) -> Mask:
        """Whether a key may be there although no row tells: from before the history, or of other people."""
        return self.log.is_open(keys, rows) | self.is_foreign(keys, rows)

    def is_foreign(self, keys: Columns, rows: Columns) -> Mask:
        """Which keys without a row are none of the load's: of those nothing is known."""
        foreign = np.zeros(rows.shape, dtype=bool)
        blank = np.flatnonzero(rows == NONE)
        if blank.size and self.history.prefix:
            distinct, place = np.unique(keys[blank], return_inverse=True)
            texts, prefix = self.history.keys.texts, self.history.prefix
            others = np.array([not texts[key].startswith(prefix) for key in distinct.tolist()])
            foreign[blank] = others[place.reshape(blank.shape)]
        return foreign

    def place_of(self, calls: Calls, ops: Columns, slot: Columns | int = 0) -> Columns:
        """Where in the log operations read: a writer before its changes plus ``slot``, others after all."""
        revision = calls.ops[OpCol.REV, ops]
        wrote = calls.ops[OpCol.WROTE, ops] > 0
        return np.where(wrote, self.log.before(revision) + slot, self.log.after(revision))
