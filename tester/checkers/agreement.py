"""What watchers were told, held against each other and against what clients were told that they wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.changelog import WATCHED, ChangeLog
from tester.checkers.watched import Ranges, Session, Written, compactions, pairs, places
from tester.history.columns import NONE, EventCol, KvCol
from tester.history.keyranges import end_of_prefix
from tester.history.table import NEVER, Columns, Mask

if TYPE_CHECKING:
    from tester.checkers.telling import Telling
    from tester.history.history import History
    from tester.history.watchlog import WatchLog


class Agreement:
    """Judges sessions, one after the other."""

    def __init__(
        self, history: History, log: WatchLog, written: Written, ranges: Ranges, tell: Telling
    ) -> None:
        self._history = history
        self._log = log
        self._written = written
        self._ranges = ranges
        self._tell = tell
        first = log.spans[0][0] if log.spans else NEVER
        self._replay = ChangeLog(log.events[WATCHED], first - 1)
        self._log_pairs = pairs(log.events)
        self._order = np.argsort(self._log_pairs, kind="stable")
        self._pairs = self._log_pairs[self._order]
        asked = compactions(history)
        ended = any(session.end is not None and session.end.compacted for session in history.sessions)
        self._compacted = ended or asked is None or bool(asked)
        """Whether anything may have been compacted."""

    def judge(self, session: Session) -> None:
        """Every guarantee that concerns what others were told."""
        differs = self._judge_log(session) if self._pairs.size else np.zeros(session.pairs.size, dtype=bool)
        self._judge_written(session, differs)
        self._judge_missing(session)

    def _judge_log(self, session: Session) -> Mask:
        """The same change for everybody, and what follows from the state before.

        Returns which changes others were told otherwise.
        """
        events, prefix = session.events, self._history.prefix
        found, known = places(self._pairs, session.pairs)
        row = self._order[found]
        differs = known & _differ(events, self._log.events, row)
        covered = self._log.covers(events[EventCol.REV])
        full_range = self._ranges.keys(prefix, end_of_prefix(prefix))[events[EventCol.KEY]]

        def others(place: int) -> str:
            if not known[place]:
                return "no other watcher was told of it, and what they were told has no gap there"
            return f"others were told {self._otherwise(self._log.events[:, row[place]], events[:, place])}"

        self._tell.changes("reliable", session, differs | (covered & full_range & ~known), others)
        self._judge_places(session, known, row)
        self._judge_creates(session, known, row)
        self._judge_previous(session, known & ~differs, row)
        return differs

    def _otherwise(self, event: Columns, told: Columns) -> str:
        lease, other = event[EventCol.LEASE], told[EventCol.LEASE]
        return self._tell.words.bare(event) + (f", lease {lease} and not {other}" if lease != other else "")

    def _judge_written(self, session: Session, differs: Mask) -> None:
        """The change that its client asked for; where others were told otherwise, that is told already."""
        events, written = session.events, self._written.events
        place, known = self._written.find(session.pairs)
        wrong = known & ~differs
        wrong[known] &= _differ(events[:, known], written, place[known])
        self._tell.changes(
            "reliable",
            session,
            wrong,
            lambda at: (
                f"the client that wrote it asked for {self._otherwise(written[:, place[at]], events[:, at])}"
            ),
        )

    def _judge_places(self, session: Session, known: Mask, row: Columns) -> None:
        """Changes of one revision come in the order in which they were made."""
        events, written = session.events, self._written
        after = np.flatnonzero(events[EventCol.REV, 1:] == events[EventCol.REV, :-1]) + 1
        turned = known[after] & known[after - 1] & (row[after] < row[after - 1])
        place, there = written.find(session.pairs)
        asked = np.flatnonzero(there[after] & there[after - 1])
        later, earlier = place[after[asked]], place[after[asked] - 1]
        same = written.operation[later] == written.operation[earlier]
        # Where one client asked for both, what it asked for counts, and not what others were told.
        turned[asked[same]] = (written.slot[later] < written.slot[earlier])[same]
        wrong = np.zeros(known.size, dtype=bool)
        wrong[after[turned]] = True

        def before(at: int) -> str:
            asked = there[at] and there[at - 1]
            who = "its transaction made them" if asked else "others were told of them"
            return f"after {self._tell.words.event(events[:, at - 1])}; {who} the other way round"

        self._tell.changes("ordered", session, wrong, before)

    def _judge_creates(self, session: Session, known: Mask, row: Columns) -> None:
        """Create revision and version go on from the change before, which watchers were told; deletions have none."""
        events, replay = session.events, self._replay
        is_put = events[EventCol.VALUE] != NONE
        wrong = (events[EventCol.CREATE] == events[EventCol.REV]) != (events[EventCol.VERSION] == 1)
        previous = replay.previous[row]
        at, there = np.maximum(previous, 0), replay.is_live(previous)
        create = np.where(is_put, np.where(there, replay.told_create[at], events[EventCol.REV]), 0)
        version = np.where(is_put, np.where(there, replay.told_version[at] + 1, 1), 0)
        differs = (events[EventCol.CREATE] != create) | (events[EventCol.VERSION] != version)

        def age(place: int) -> str:
            expected = f"create revision {create[place]}, version {version[place]}"
            expected += "" if is_put[place] else ", as of every deletion"
            return (
                f"it says {self._tell.words.numbers(events[:, place])}; by what came before it is {expected}"
            )

        wrong = np.where(is_put, known & (wrong | (differs & self._has_past(row))), differs)
        self._tell.changes("is-create", session, wrong, age)

    def _has_past(self, row: Columns) -> Mask:
        """Whether the merged log tells the state before a change: no gap since the change before it."""
        previous = self._replay.previous[row]
        span = self._span_number(self._replay.revision[row])
        from_start = bool(self._log.spans) and self._log.spans[0][0] <= 2
        before = self._span_number(self._replay.revision[np.maximum(previous, 0)])
        past: Mask = np.where(previous == NONE, from_start & (span == 0), span == before)
        return past

    def _span_number(self, revisions: Columns) -> Columns:
        return np.searchsorted(np.array([first for first, _ in self._log.spans]), revisions, side="right") - 1

    def _judge_previous(self, session: Session, known: Mask, row: Columns) -> None:
        if not session.session.start.prev_kv:
            return
        events, replay, told = session.events, self._replay, self._history.previous.columns
        previous = replay.previous[row]
        there = replay.is_live(previous)
        at = np.maximum(previous, 0)
        given = events[EventCol.PREV] != NONE
        # Without compaction etcd always has it; after one it may not, and says nothing.
        absent = there & ~given & (not self._compacted)
        wrong = (given & ~there) | absent
        if told.shape[1]:
            kv = told[:, np.maximum(events[EventCol.PREV], 0)]
            same = (kv[KvCol.KEY] == events[EventCol.KEY]) & (kv[KvCol.VALUE] == replay.value[at])
            same &= (kv[KvCol.MOD] == replay.revision[at]) & (kv[KvCol.CREATE] == replay.told_create[at])
            same &= (kv[KvCol.VERSION] == replay.told_version[at]) & (kv[KvCol.LEASE] == replay.lease[at])
            wrong |= given & there & ~same

        def before(place: int) -> str:
            was = self._tell.words.state(replay, int(previous[place]))
            return f"it says that before it there was {self._tell.words.previous(events[:, place])}; there was {was}"

        self._tell.changes("prev-kv", session, known & self._has_past(row) & wrong, before)

    def _judge_missing(self, session: Session) -> None:
        """Changes that others were told of, and those of clients."""
        if session.span is None:
            return
        first, last = session.span
        own = np.sort(session.pairs)
        for source, numbers, knows in (
            (self._log.events, self._log_pairs, "another watcher was"),
            (self._written.events, self._written.pairs, "the client that wrote it was answered so"),
        ):
            low, high = np.searchsorted(source[EventCol.REV], [first, last + 1])
            wanted = self._ranges.admits(session.session.start, source[:, low:high])
            _, told = places(own, numbers[low:high])
            missing = source[:, low + np.flatnonzero(wanted & ~told)]
            everything = f"it was told of everything from revision {first} to {last}; {knows}"
            self._tell.missing("reliable", session, missing, everything)


def _differ(events: Columns, others: Columns, row: Columns) -> Mask:
    """Of each change, whether a row of others has another value or lease."""
    value, lease = EventCol.VALUE, EventCol.LEASE
    differ: Mask = (events[value] != others[value, row]) | (events[lease] != others[lease, row])
    return differ
