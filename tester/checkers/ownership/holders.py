"""Who held a lock, or led, at which revision: of the keys under a prefix the one that was created first."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import NONE, EventCol, Kind, KvCol, LeafCol, OpCol

if TYPE_CHECKING:
    from tester.history.history import History
    from tester.history.watchlog import WatchLog


@dataclass(frozen=True, slots=True)
class Holder:
    """The first of the contenders."""

    key: str
    created: int
    value: str


class Holders:
    """Holders of one lock or election by revision, as the watch log tells them."""

    def __init__(self, history: History, watch: WatchLog, prefix: str) -> None:
        self._watch = watch
        self._revisions: list[int] = [0]
        self._holders: list[Holder | None] = [None]
        texts, values = history.keys.texts, history.values.texts
        ours = {number for number, text in enumerate(texts) if text.startswith(prefix)}
        self._begins = watch.spans[0][0] if watch.spans else 0
        self._is_late = self._begins > 2 and _has_older(history, watch, prefix, ours, self._begins)
        alive: dict[str, Holder] = {}
        columns = (EventCol.REV, EventCol.KEY, EventCol.VALUE, EventCol.CREATE)
        for revision, key, value, create in zip(
            *(watch.events[column].tolist() for column in columns), strict=True
        ):
            if key not in ours:
                continue
            text = texts[key]
            if value == NONE:
                alive.pop(text, None)
            else:
                alive[text] = Holder(text, create, values[value])
            first = min(alive.values(), key=lambda holder: holder.created, default=None)
            if self._revisions[-1] == revision:
                self._holders[-1] = first
            else:
                self._revisions.append(revision)
                self._holders.append(first)

    def knows(self, revision: int) -> bool:
        """Whether the log tells who held it at a revision: it has no gap from before the first contender on."""
        return bool(self._begins) and not self._is_late and self._watch.covers_span(self._begins, revision)

    def at(self, revision: int) -> Holder | None:
        """Who held it after the changes of a revision."""
        return self._holders[bisect_right(self._revisions, revision) - 1]


def _has_older(history: History, watch: WatchLog, prefix: str, ours: set[int], revision: int) -> bool:
    """Whether anything tells of a contender from before a revision."""
    if any(claim.name == prefix and claim.rev < revision for claim in history.claims):
        return True
    keys = np.array(sorted(ours), dtype=np.int64)
    operations = history.operations
    leaves, answers = operations.leaves.columns, operations.answers.columns
    puts = leaves[:, (leaves[LeafCol.KIND] == Kind.PUT) & np.isin(leaves[LeafCol.KEY], keys)]
    created = (
        operations.rows.columns[OpCol.REV, puts[LeafCol.OP]],
        answers[KvCol.CREATE, np.isin(answers[KvCol.KEY], keys)],
        watch.events[
            EventCol.CREATE,
            np.isin(watch.events[EventCol.KEY], keys) & (watch.events[EventCol.VALUE] != NONE),
        ],
    )
    return any(bool(np.any(column < revision)) for column in created)
