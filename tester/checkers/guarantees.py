"""What etcd promises about watches, held against what each session of a watcher was told."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS, Evidence
from tester.checkers.linearizability.changelog import ChangeLog
from tester.checkers.told import Told
from tester.checkers.watched import Session, acknowledged_puts, compactions, pairs, repeated
from tester.history.columns import NONE, EventCol, KvCol, OpCol, ResponseCol
from tester.history.table import NEVER, Columns, Mask
from tester.history.watchlog import end_of_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.history.history import History
    from tester.history.watchlog import WatchLog


class Guarantees:
    """Judges sessions, one after the other; violations go to ``evidence``, by the name of the guarantee."""

    def __init__(self, history: History, log: WatchLog, evidence: Evidence) -> None:
        self._history = history
        self._log = log
        self._evidence = evidence
        columns = [
            EventCol.REV,
            EventCol.KEY,
            EventCol.VALUE,
            EventCol.LEASE,
            EventCol.CREATE,
            EventCol.VERSION,
        ]
        first = log.spans[0][0] if log.spans else NEVER
        self._replay = ChangeLog(log.events[columns], first - 1)
        self._order = np.argsort(pairs(log.events), kind="stable")
        self._pairs = pairs(log.events)[self._order]
        self._acknowledged = acknowledged_puts(history)
        self._compactions = compactions(history)
        answered = history.operations.rows.columns[OpCol.REV]
        self._told = Told(history)
        self._ranges: dict[tuple[str, str], Mask] = {}
        self._base = int(answered.min(initial=NEVER))
        """What was compacted before the history began, nobody need have asked for in it."""

    def judge(self, session: Session) -> None:
        """Every guarantee that concerns one session."""
        events = session.events
        revisions = events[EventCol.REV]
        self._judge_filter(session)
        back = np.append(False, revisions[1:] < revisions[:-1])[: revisions.size]
        self._tell(
            "ordered", session, events, back, lambda place: f"after {self._told.event(events[:, place - 1])}"
        )
        again = repeated(events)
        self._tell("unique", session, events, again, partial(self._first_time, events))
        self._judge_atomic(session, again)
        self._judge_bookmarks(session)
        self._tell("resumable", session, events, revisions < session.session.start.rev)
        self._judge_content(session)
        self._judge_missing(session)
        self._judge_compaction(session)

    def judge_resumptions(self, sessions: list[Session]) -> None:
        """A watcher that goes on where it was sees nothing again."""
        last: dict[int, int] = {}

        def seen_before(seen: int, _: int) -> str:
            return f"the session before had told everything up to revision {seen}"

        for session in sessions:
            watcher, start = session.session.start.w, session.session.start.rev
            revisions = session.events[EventCol.REV]
            seen = last.get(watcher, 0)
            if start > seen:
                again = (revisions <= seen) & (revisions >= start)
                self._tell("unique", session, session.events, again, partial(seen_before, seen))
            if revisions.size:
                last[watcher] = max(seen, int(revisions.max()))

    def _tell(
        self,
        guarantee: str,
        session: Session,
        events: Columns,
        wrong: Mask,
        because: Callable[[int], str] | None = None,
    ) -> None:
        """A violation for each wrong event; ``because`` gives the other half of the contradiction, by its place."""
        self._evidence.more(int(wrong.sum()) - MAX_FINDINGS)
        for place in np.flatnonzero(wrong)[:MAX_FINDINGS].tolist():
            event = events[:, place]
            text = self._told.event(event) + (f"; {because(place)}" if because else "")
            self._violation(guarantee, session, text, [int(event[EventCol.REV])])

    def _first_time(self, events: Columns, place: int) -> str:
        """When a repeated change was told before."""
        event = events[:, place]
        same = (pairs(events) == pairs(events)[place]) & (events[EventCol.VALUE] == event[EventCol.VALUE])
        first = int(np.flatnonzero(same)[0])
        return f"it had been told at {self._told.time(int(events[EventCol.RESPONSE, first]))} s already"

    def _violation(self, guarantee: str, session: Session, text: str, revisions: list[int]) -> None:
        start = session.session.start
        self._evidence.violation(
            f"{guarantee}: watcher {start.w} at {start.m}, started at {start.at / 1e9:.6f} s from revision"
            f" {start.rev}: {text}",
            revisions=revisions,
            members=[start.m],
            kind=guarantee,
        )

    def _in_range(self, session: Session, keys: Columns, values: Columns) -> Mask:
        start = session.session.start
        admitted: Mask = self._keys_in(start.k, start.e)[keys]
        if "put" in start.filters:
            admitted &= values == NONE
        if "delete" in start.filters:
            admitted &= values != NONE
        return admitted

    def _keys_in(self, key: str, end: str) -> Mask:
        """Of each key, whether it is in a range; most watchers ask for the same."""
        if (key, end) not in self._ranges:
            texts = self._history.keys.texts
            self._ranges[key, end] = np.array(
                [text == key if not end else text >= key and (end == "\0" or text < end) for text in texts],
                dtype=bool,
            )
        return self._ranges[key, end]

    def _judge_filter(self, session: Session) -> None:
        events = session.events
        wrong = ~self._in_range(session, events[EventCol.KEY], events[EventCol.VALUE])
        start = session.session.start
        asked = f"keys from {start.k} up to {start.e}" if start.e else f"key {start.k} alone"
        less = f", and no {' or '.join(start.filters)}" if start.filters else ""
        self._tell("filter", session, events, wrong, lambda _: f"it had asked for {asked}{less}")

    def _judge_atomic(self, session: Session, repeated: Mask) -> None:
        """One revision in two responses; a mere repetition is told as ``unique``."""
        revisions, responses = session.events[EventCol.REV], session.events[EventCol.RESPONSE]
        again = np.append(False, (revisions[1:] == revisions[:-1]) & (responses[1:] != responses[:-1]))
        wrong = again[: revisions.size] & ~repeated
        events = session.events
        self._tell(
            "atomic",
            session,
            events,
            wrong,
            lambda place: f"a response before had {self._told.event(events[:, place - 1])}",
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
            when = self._told.time(int(numbers[mark]))
            return f"a bookmark at {when} s had said that all up to revision {before[at]} was told"

        self._tell("bookmarkable", session, session.events, wrong, bookmark)

    def _judge_content(self, session: Session) -> None:
        """Against the merged log: the same change for everybody, and what follows from the state before."""
        events = session.events
        if not self._pairs.size:
            return
        found = np.minimum(np.searchsorted(self._pairs, pairs(events)), self._pairs.size - 1)
        row = self._order[found]
        known = self._pairs[found] == pairs(events)
        columns = [EventCol.VALUE, EventCol.LEASE]
        differs = known & np.any(events[columns] != self._log.events[columns][:, row], axis=0)
        covered, prefix = self._log.covers(events[EventCol.REV]), self._history.prefix
        full_range = self._keys_in(prefix, end_of_prefix(prefix))[events[EventCol.KEY]]

        def others(place: int) -> str:
            if not known[place]:
                return "no other watcher was told of it, and what they were told has no gap there"
            what = self._told.bare(self._log.events[:, row[place]])
            leases = f"{self._log.events[EventCol.LEASE, row[place]]} and not {events[EventCol.LEASE, place]}"
            return f"others were told {what}, lease {leases}"

        self._tell("reliable", session, events, differs | (covered & full_range & ~known), others)
        is_put = known & (events[EventCol.VALUE] != NONE)
        self._judge_creates(session, is_put, row)
        self._judge_previous(session, known & ~differs, row)

    def _judge_creates(self, session: Session, is_put: Mask, row: Columns) -> None:
        """Create revision and version go on from the change before, which watchers were told as well."""
        events, replay = session.events, self._replay
        wrong = (events[EventCol.CREATE] == events[EventCol.REV]) != (events[EventCol.VERSION] == 1)
        previous = replay.previous[row]
        at, there = np.maximum(previous, 0), replay.is_live(previous)
        create = np.where(there, replay.told_create[at], events[EventCol.REV])
        version = np.where(there, replay.told_version[at] + 1, 1)
        differs = (events[EventCol.CREATE] != create) | (events[EventCol.VERSION] != version)

        def age(place: int) -> str:
            expected = f"create revision {create[place]}, version {version[place]}"
            return f"it says {self._told.numbers(events[:, place])}; by what came before it is {expected}"

        self._tell("is-create", session, events, is_put & (wrong | (differs & self._has_past(row))), age)

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
        absent = there & ~given & (not self._compacted())
        wrong = (given & ~there) | absent
        if told.shape[1]:
            kv = told[:, np.maximum(events[EventCol.PREV], 0)]
            same = (kv[KvCol.KEY] == events[EventCol.KEY]) & (kv[KvCol.VALUE] == replay.value[at])
            same &= (kv[KvCol.MOD] == replay.revision[at]) & (kv[KvCol.CREATE] == replay.told_create[at])
            same &= (kv[KvCol.VERSION] == replay.told_version[at]) & (kv[KvCol.LEASE] == replay.lease[at])
            wrong |= given & there & ~same

        def before(place: int) -> str:
            was = self._told.state(replay, int(previous[place]))
            return (
                f"it says that before it there was {self._told.previous(events[:, place])}; there was {was}"
            )

        self._tell("prev-kv", session, events, known & self._has_past(row) & wrong, before)

    def _compacted(self) -> bool:
        """Whether anything may have been compacted; ``None`` means that others may have asked for it."""
        ended = any(session.end is not None and session.end.compacted for session in self._history.sessions)
        return ended or self._compactions is None or bool(self._compactions)

    def _judge_missing(self, session: Session) -> None:
        """Changes that others were told of, and acknowledged puts."""
        if session.span is None:
            return
        first, last = session.span
        own = np.sort(pairs(session.events))
        for source, knows in (
            (self._log.events, "another watcher was"),
            (self._acknowledged, "the client that wrote it was answered so"),
        ):
            inside = (source[EventCol.REV] >= first) & (source[EventCol.REV] <= last)
            wanted = source[:, inside]
            wanted = wanted[:, self._in_range(session, wanted[EventCol.KEY], wanted[EventCol.VALUE])]
            place = np.minimum(np.searchsorted(own, pairs(wanted)), max(own.size - 1, 0))
            missing = own[place] != pairs(wanted) if own.size else np.ones(wanted.shape[1], dtype=bool)
            self._evidence.more(int(missing.sum()) - MAX_FINDINGS)
            for event in wanted[:, missing].T[:MAX_FINDINGS]:
                self._violation(
                    "reliable",
                    session,
                    f"never told of {self._told.bare(event)}, although it was told of everything from revision"
                    f" {first} to {last}; {knows}",
                    [int(event[EventCol.REV])],
                )

    def _judge_compaction(self, session: Session) -> None:
        end = session.session.end
        if end is None or not end.compacted:
            return
        revisions = session.events[EventCol.REV]
        wanted = max(session.session.start.rev, int(revisions.max(initial=0)) + 1 if revisions.size else 0)
        if wanted >= end.compacted:
            self._violation(
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
            self._violation(
                "compaction",
                session,
                f"it was told that revision {end.compacted} is compacted, which nobody asked for",
                [end.compacted],
            )
