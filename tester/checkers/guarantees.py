"""What etcd promises about watches, held against what each session of a watcher was told by itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.watched import Ranges, Session, compactions, repeated
from tester.history.columns import EventCol, OpCol, ResponseCol
from tester.history.table import NEVER, Mask

if TYPE_CHECKING:
    from tester.checkers.telling import Telling
    from tester.history.history import History


class Guarantees:
    """Judges sessions, one after the other."""

    def __init__(self, history: History, ranges: Ranges, tell: Telling) -> None:
        self._history = history
        self._ranges = ranges
        self._tell = tell
        self._compactions = compactions(history)
        answered = history.operations.rows.columns[OpCol.REV]
        self._base = int(answered.min(initial=NEVER))
        """What was compacted before the history began, nobody need have asked for in it."""

    def judge(self, session: Session) -> None:
        """Every guarantee that concerns one session alone."""
        events = session.events
        revisions = events[EventCol.REV]
        self._judge_filter(session)
        back = np.append(False, revisions[1:] < revisions[:-1])[: revisions.size]
        self._tell.changes(
            "ordered", session, back, lambda place: f"after {self._tell.words.event(events[:, place - 1])}"
        )
        again = repeated(session)
        self._tell.changes("unique", session, again, partial(self._first_time, session))
        self._judge_atomic(session, again)
        self._judge_bookmarks(session)
        self._tell.changes("resumable", session, revisions < session.session.start.rev)
        self._judge_headers(session)
        self._judge_compaction(session)

    def _judge_headers(self, session: Session) -> None:
        """A member answers with the revision of its store, which is no older than what it tells."""
        events = session.events
        header = self._history.responses.columns[ResponseCol.REV, events[EventCol.RESPONSE]]
        self._tell.changes(
            "header",
            session,
            header < events[EventCol.REV],
            lambda place: f"the header of that response is of revision {header[place]}",
        )

    def _first_time(self, session: Session, place: int) -> str:
        """When a repeated change was told before."""
        events, value = session.events, session.events[EventCol.VALUE]
        same = (session.pairs == session.pairs[place]) & (value == value[place])
        first = int(np.flatnonzero(same)[0])
        return f"it had been told at {self._tell.words.time(int(events[EventCol.RESPONSE, first]))} s already"

    def _judge_filter(self, session: Session) -> None:
        start = session.session.start
        wrong = ~self._ranges.admits(start, session.events)
        asked = f"keys from {start.k} up to {start.e}" if start.e else f"key {start.k} alone"
        less = f", and no {' or '.join(start.filters)}" if start.filters else ""
        self._tell.changes("filter", session, wrong, lambda _: f"it had asked for {asked}{less}")

    def _judge_atomic(self, session: Session, repeated: Mask) -> None:
        """One revision in two responses; a mere repetition is told as ``unique``."""
        revisions, responses = session.events[EventCol.REV], session.events[EventCol.RESPONSE]
        again = np.append(False, (revisions[1:] == revisions[:-1]) & (responses[1:] != responses[:-1]))
        wrong = again[: revisions.size] & ~repeated
        events = session.events
        self._tell.changes(
            "atomic",
            session,
            wrong,
            lambda place: f"a response before had {self._tell.words.event(events[:, place - 1])}",
        )

    def _judge_bookmarks(self, session: Session) -> None:
        if not session.responses.shape[1] or not session.events.shape[1]:
            return
        marks = np.where(session.bookmark, session.responses[ResponseCol.REV], 0)
        newest = np.maximum.accumulate(marks)
        response = session.events[EventCol.RESPONSE]
        # Rows of responses are numbered over all sessions; this session's are ascending.
        numbers = np.flatnonzero(
            self._history.responses.columns[ResponseCol.SESSION] == session.events[EventCol.SESSION, 0]
        )
        place = np.searchsorted(numbers, response)
        before = np.where(place > 0, newest[np.maximum(place - 1, 0)], 0)
        wrong = session.events[EventCol.REV] <= before

        def bookmark(at: int) -> str:
            mark = int(np.flatnonzero(marks == before[at])[0])
            when = self._tell.words.time(int(numbers[mark]))
            return f"a bookmark at {when} s had said that all up to revision {before[at]} was told"

        self._tell.changes("bookmarkable", session, wrong, bookmark)

    def _judge_compaction(self, session: Session) -> None:
        end = session.session.end
        if end is None or not end.compacted:
            return
        revisions = session.events[EventCol.REV]
        wanted = max(session.session.start.rev, int(revisions.max(initial=0)) + 1 if revisions.size else 0)
        if wanted >= end.compacted:
            self._tell.violation(
                "compaction",
                session,
                f"it was told that revision {end.compacted} is compacted, but went on from {wanted}",
                [end.compacted],
            )
        elif (
            self._compactions is not None
            and end.compacted > self._base
            and not any(
                revision == end.compacted and called <= end.at for revision, called in self._compactions
            )
        ):
            self._tell.violation(
                "compaction",
                session,
                f"it was told that revision {end.compacted} is compacted, which nobody asked for",
                [end.compacted],
            )
