"""``watch``: etcd's guarantees about watches, each by its name.

=============  =====================================================================================
filter         only the keys and kinds that were asked for
ordered        revisions never go back
unique         no change twice, not even after a resumption
atomic         the changes of one revision come in one response
bookmarkable   after a bookmark nothing older follows
resumable      a watch from a revision shows nothing older
reliable       no change is left out, and none differs from what other watchers or clients were told
is-create      a change says that it creates its key if and only if it does
prev-kv        the previous key is the key as it was before
compaction     a watch is told of compaction only if what it asked for is compacted, and somebody asked for that
=============  =====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.base import MAX_FINDINGS, Evidence
from tester.checkers.linearizability.changelog import ChangeLog
from tester.checkers.watched import Session, acknowledged_puts, compactions, pairs, repeated, sessions_of
from tester.history.columns import NONE, EventCol, Kind, KvCol, LeafCol, OpCol, ResponseCol
from tester.history.table import NEVER, Columns, Mask
from tester.history.watchlog import WatchLog, merge_watch_log

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult


class Watch:
    """Judges every session of every watcher."""

    name = "watch"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:  # noqa: ARG002 - the protocol's
        """Invalid for a broken guarantee; unknown when nobody watched."""
        evidence = Evidence(self.name)
        if not len(history.events):
            evidence.doubt("no watcher was told of any change")
            return evidence.result("")
        log = merge_watch_log(history)
        judge = _Judge(history, log, evidence)
        sessions = sessions_of(history)
        for session in sessions:
            judge.judge(session)
        judge.judge_resumptions(sessions)
        return evidence.result(
            f"{len(history.events)} changes in {len(sessions)} sessions keep every guarantee"
            f" ({log.describe()})"
        )


class _Judge:
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
        self._base = int(answered.min(initial=NEVER))
        """What was compacted before the history began, nobody need have asked for in it."""

    def judge(self, session: Session) -> None:
        """Every guarantee that concerns one session."""
        events = session.events
        revisions = events[EventCol.REV]
        self._judge_filter(session)
        self._tell(
            "ordered", session, events, np.append(False, revisions[1:] < revisions[:-1])[: revisions.size]
        )
        self._tell("unique", session, events, repeated(events))
        self._judge_atomic(session)
        self._judge_bookmarks(session)
        self._tell("resumable", session, events, revisions < session.session.start.rev)
        self._judge_content(session)
        self._judge_missing(session)
        self._judge_compaction(session)

    def judge_resumptions(self, sessions: list[Session]) -> None:
        """A watcher that goes on where it was sees nothing again."""
        last: dict[int, int] = {}
        for session in sessions:
            watcher, start = session.session.start.w, session.session.start.rev
            revisions = session.events[EventCol.REV]
            seen = last.get(watcher, 0)
            if start > seen:
                self._tell("unique", session, session.events, (revisions <= seen) & (revisions >= start))
            if revisions.size:
                last[watcher] = max(seen, int(revisions.max()))

    def _tell(self, guarantee: str, session: Session, events: Columns, wrong: Mask) -> None:
        self._evidence.more(int(wrong.sum()) - MAX_FINDINGS)
        for place in np.flatnonzero(wrong)[:MAX_FINDINGS]:
            self._violation(
                guarantee, session, f"{self._event(events[:, place])}", [int(events[EventCol.REV, place])]
            )

    def _violation(self, guarantee: str, session: Session, text: str, revisions: list[int]) -> None:
        start = session.session.start
        self._evidence.violation(
            f"{guarantee}: watcher {start.w} at {start.m}, started at {start.at / 1e9:.6f} s from revision"
            f" {start.rev}: {text}",
            revisions=revisions,
            members=[start.m],
            kind=guarantee,
        )

    def _event(self, event: Columns) -> str:
        key, value = self._history.keys.texts[event[EventCol.KEY]], event[EventCol.VALUE]
        what = f"delete {key}" if value == NONE else f"put {key} = {self._history.values.texts[value]}"
        return f"{what} at revision {event[EventCol.REV]}"

    def _in_range(self, session: Session, keys: Columns, values: Columns) -> Mask:
        start = session.session.start
        texts = self._history.keys.texts
        wanted = np.array(
            [
                text == start.k if not start.e else text >= start.k and (start.e == "\0" or text < start.e)
                for text in texts
            ],
            dtype=bool,
        )
        admitted: Mask = wanted[keys]
        if "put" in start.filters:
            admitted &= values == NONE
        if "delete" in start.filters:
            admitted &= values != NONE
        return admitted

    def _judge_filter(self, session: Session) -> None:
        events = session.events
        wrong = ~self._in_range(session, events[EventCol.KEY], events[EventCol.VALUE])
        self._tell("filter", session, events, wrong)

    def _judge_atomic(self, session: Session) -> None:
        """One revision in two responses; a mere repetition is told as ``unique``."""
        revisions, responses = session.events[EventCol.REV], session.events[EventCol.RESPONSE]
        again = np.append(False, (revisions[1:] == revisions[:-1]) & (responses[1:] != responses[:-1]))
        self._tell("atomic", session, session.events, again[: revisions.size] & ~repeated(session.events))

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
        self._tell("bookmarkable", session, session.events, session.events[EventCol.REV] <= before)

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
        covered = self._log.covers(events[EventCol.REV])
        full_range = self._in_range_of_log(events)
        self._tell("reliable", session, events, differs | (covered & full_range & ~known))
        is_put = known & (events[EventCol.VALUE] != NONE)
        self._judge_creates(session, is_put, row)
        self._judge_previous(session, known & ~differs, row)

    def _in_range_of_log(self, events: Columns) -> Mask:
        prefix = self._history.prefix
        inside = np.array([text.startswith(prefix) for text in self._history.keys.texts], dtype=bool)
        admitted: Mask = inside[events[EventCol.KEY]]
        return admitted

    def _judge_creates(self, session: Session, is_put: Mask, row: Columns) -> None:
        """Create revision and version go on from the change before, which watchers were told as well."""
        events, replay = session.events, self._replay
        wrong = (events[EventCol.CREATE] == events[EventCol.REV]) != (events[EventCol.VERSION] == 1)
        previous = replay.previous[row]
        at, there = np.maximum(previous, 0), replay.is_live(previous)
        create = np.where(there, replay.told_create[at], events[EventCol.REV])
        version = np.where(there, replay.told_version[at] + 1, 1)
        differs = (events[EventCol.CREATE] != create) | (events[EventCol.VERSION] != version)
        self._tell("is-create", session, events, is_put & (wrong | (differs & self._has_past(row))))

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
        self._tell("prev-kv", session, events, known & self._has_past(row) & wrong)

    def _compacted(self) -> bool:
        leaves = self._history.operations.leaves.columns
        ended = any(session.end is not None and session.end.compacted for session in self._history.sessions)
        return ended or bool(np.any(leaves[LeafCol.KIND] == Kind.COMPACT))

    def _judge_missing(self, session: Session) -> None:
        """Changes that others were told of, and acknowledged puts."""
        if session.span is None:
            return
        first, last = session.span
        own = np.sort(pairs(session.events))
        for source in (self._log.events, self._acknowledged):
            inside = (source[EventCol.REV] >= first) & (source[EventCol.REV] <= last)
            wanted = source[:, inside]
            wanted = wanted[:, self._in_range(session, wanted[EventCol.KEY], wanted[EventCol.VALUE])]
            place = np.minimum(np.searchsorted(own, pairs(wanted)), max(own.size - 1, 0))
            missing = own[place] != pairs(wanted) if own.size else np.ones(wanted.shape[1], dtype=bool)
            self._evidence.more(int(missing.sum()) - MAX_FINDINGS)
            for event in wanted[:, missing].T[:MAX_FINDINGS]:
                self._violation(
                    "reliable", session, f"never told of {self._event(event)}", [int(event[EventCol.REV])]
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
