"""Who held a lock, or led, at which revision: of the keys under a prefix the one that was created first."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.columns import NONE, EventCol

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
        """Whether the log tells who held it at a revision: it has no gap from its beginning on."""
        return bool(self._watch.spans) and self._watch.covers_span(self._watch.spans[0][0], revision)

    def at(self, revision: int) -> Holder | None:
        """Who held it after the changes of a revision."""
        return self._holders[bisect_right(self._revisions, revision) - 1]
