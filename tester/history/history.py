"""A history with its operations joined: what every checker reads.

Operations are kept as columns (``tester.history.columns``), not as objects: a million of them fit in a few
hundred megabytes and are judged by array arithmetic. ``extend`` takes the records as they come, as often as
one likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tester.history.columns import NONE, TABLES, EventCol, KvCol, RefusalCol, ResponseCol, WaitCol
from tester.history.describe import describe_invoke, describe_joined, describe_refusal, describe_unanswered
from tester.history.mismatch import HistoryMismatchError, misplaced_header, reused, without_question
from tester.history.operations import Operations, fill_key_values, is_local, is_write, kind_of, revisions_of
from tester.history.records import (
    ClaimRecord,
    ClientRecord,
    ClockRecord,
    Compact,
    CompactionRecord,
    EpochRecord,
    Fail,
    FaultRecord,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    LeaderRecord,
    LeaseGrant,
    LeaseKeepAlive,
    MemberRecord,
    Ok,
    PhaseRecord,
    RestoredRecord,
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.history.table import Interner, Table, column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


T = TypeVar("T")

_BATCH = 10_000
"""Records that are taken before they become columns: few enough to stay in the cache, and enough that an array
operation costs little for each."""


_REFUSALS = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "OUT_OF_RANGE"})
"""Codes with which etcd answers what it will not do: it was there, and served."""

_FUTURE, _COMPACTED = "required revision is a future revision", "required revision has been compacted"
_NO_LEASE = "requested lease not found"


@dataclass(slots=True)
class WatchSession:
    """One watch stream from its start to its end; a watcher that reconnects begins another."""

    start: WatchStart
    end: WatchEnd | None = None


class History:
    """Everything that is known about one round."""

    def __init__(self, records: Iterable[HistoryRecord] = ()) -> None:
        self.header: Header | None = None
        self.taken = 0
        """Records so far: of one file, its lines."""
        self.keys = Interner()
        self.values = Interner()
        self.members = Interner()
        self.operations = Operations(self.keys, self.values)
        self.sessions: list[WatchSession] = []
        self.responses = Table(ResponseCol)
        self.events = Table(EventCol)
        self.previous = Table(KvCol)
        """Previous keys of watched changes; ``KvCol.LEAF`` holds the row of the event."""
        self.failed_writes: dict[int, Invoke] = {}
        """Writes that were answered with an error that says they were not applied."""
        self.unanswered = Table(WaitCol)
        """What else failed or has an unknown outcome; those in flight are ``unfinished``."""
        self.revision_refusals = Table(RefusalCol)
        """Operations that were refused because of the revision that they asked for."""
        self.lease_refusals: list[tuple[Invoke, Fail]] = []
        """Operations that were refused because there is no such lease."""
        self.unknown_renewals: list[tuple[Invoke, Info]] = []
        """Grants and keepalives of which nobody knows whether they took effect."""
        self.unknown_compactions: list[Invoke] = []
        """Compactions of which nobody knows whether they were done; those in flight are ``unfinished``."""
        self.compactions: list[CompactionRecord] = []
        """Those of the tester; clients' are among the operations."""
        self.phases: list[PhaseRecord] = []
        self.faults: list[FaultRecord] = []
        self.leaders: list[LeaderRecord] = []
        self.member_events: list[MemberRecord] = []
        self.claims: list[ClaimRecord] = []
        self.epochs: list[EpochRecord] = []
        """Where other clusters begin: ``tester.history.epochs``."""
        self.restored: list[RestoredRecord] = []
        self.client_deaths: list[ClientRecord] = []
        self.clocks: list[ClockRecord] = []
        """Of load hosts."""
        self._open: dict[int, Invoke] = {}
        self._unknown: dict[int, Invoke] = {}
        self._current: dict[int, int] = {}
        """Session of each watcher."""
        self._kept: dict[type, tuple[object, object]] = {}
        self.extend(records)

    @property
    def tables(self) -> dict[str, Table]:
        """Operations and watches as columns, by name; in ``docs/history.md`` the files of the Parquet form."""
        tables = (*self.operations.tables, self.responses, self.events, self.previous)
        return dict(zip(TABLES, tables, strict=True))

    @property
    def prefix(self) -> str:
        """What every key of the load starts with; empty without a header."""
        return self.header.prefix if self.header else ""

    def unknown_writes(self) -> Iterator[Invoke]:
        """Writes of which nobody knows whether they were applied, those still in flight included."""
        yield from self._unknown.values()
        yield from (invoke for invoke in self._open.values() if is_write(invoke.op))

    def unfinished(self) -> Iterator[Invoke]:
        """Operations that were invoked and have no end: in flight, or of a tester that was killed."""
        yield from self._open.values()

    def find_unknown(self, operation_id: int) -> Invoke | None:
        """The write with this id, if its outcome is unknown."""
        return self._unknown.get(operation_id) or self._open.get(operation_id)

    def extend(self, records: Iterable[HistoryRecord]) -> None:
        """Take more records, in the order of the file.

        Raises:
            HistoryMismatchError: a record does not fit to those before it.
        """
        self._kept.clear()
        remaining = iter(records)
        while batch := list(islice(remaining, _BATCH)):
            self._take(batch)

    def _take(self, batch: list[HistoryRecord]) -> None:  # noqa: C901 - one arm per record, nothing nested
        """One loop that joins and sorts; columns are made of what it leaves, all at once."""
        opened, end, current = self._open, self._open.pop, self._current
        asked: list[Invoke] = []
        told: list[Ok] = []
        watched: list[Watched] = []
        sessions: list[int] = []
        for record in batch:
            if type(record) is Invoke:
                if opened.setdefault(record.id, record) is not record:
                    raise HistoryMismatchError(f"operation {record.id} is invoked twice")
            elif type(record) is Ok:
                invoke = end(record.id, None)
                if invoke is None:
                    self._not_asked(record)
                    continue
                asked.append(invoke)
                told.append(record)
            elif type(record) is Watched:
                session = current.get(record.w)
                sessions.append(self._not_started(record.w) if session is None else session)
                watched.append(record)
            elif isinstance(record, Info | Fail):
                self._not_ok(record)
            elif type(record) is Header:
                place = next(place for place, one in enumerate(batch) if one is record)
                self._begin(record, self.taken + place + 1)
            else:
                self._frame(record)
        if asked:
            self.operations.extend(asked, told, self.members)
        if watched:
            self._add_watched(sessions, watched)
        self.taken += len(batch)

    def keep(self, kind: type[T], of: object, make: Callable[[], T]) -> T:
        """A conclusion ``of`` something, made once for all checkers that need it.

        It is forgotten when records are added, and when one is made of what is no kept conclusion itself: an
        end state comes with a set of them.
        """
        source, found = self._kept.get(kind, (None, None))
        if source is of and isinstance(found, kind):
            return found
        if all(other is not of for _, other in self._kept.values()):
            self._kept.clear()
        made = make()
        self._kept[kind] = (of, made)
        return made

    def describe(self, operation_id: int) -> str:
        """One line about an operation, as findings quote it."""
        for outcome, invokes in (("info", self._open), ("info", self._unknown), ("fail", self.failed_writes)):
            if invoke := invokes.get(operation_id):
                return describe_invoke(invoke, outcome)
        rows = self.unanswered.columns
        if (found := np.flatnonzero(rows[WaitCol.ID] == operation_id)).size:
            return describe_unanswered(rows[:, found[0]], self.members.texts)
        refused = self.revision_refusals.columns
        if (found := np.flatnonzero(refused[RefusalCol.ID] == operation_id)).size:
            return describe_refusal(refused[:, found[0]], self.members.texts)
        return describe_joined(self.operations, self.members.texts, operation_id)

    def _not_ok(self, record: Info | Fail) -> None:
        invoke = self._open.pop(record.id, None)
        if invoke is None:
            self._not_asked(record)
        else:
            self._without_answer(invoke, record)

    def _without_answer(self, invoke: Invoke, record: Info | Fail) -> None:
        if not (is_write(invoke.op) or is_local(invoke.op) or record.error in _REFUSALS):
            member = self.members.numbers[invoke.m]
            self.unanswered.append(invoke.id, invoke.c, member, kind_of(invoke.op), invoke.at)
        if isinstance(record, Fail):
            if is_write(invoke.op) and self.failed_writes.setdefault(record.id, invoke) is not invoke:
                raise reused(record.id)
            if record.text.endswith(_NO_LEASE):
                self.lease_refusals.append((invoke, record))
            elif record.text.endswith((_FUTURE, _COMPACTED)):
                self._refused(invoke, record)
        elif is_write(invoke.op):
            if self._unknown.setdefault(record.id, invoke) is not invoke:
                raise reused(record.id)
        elif isinstance(invoke.op, LeaseGrant | LeaseKeepAlive):
            self.unknown_renewals.append((invoke, record))
        elif isinstance(invoke.op, Compact):
            self.unknown_compactions.append(invoke)

    def _refused(self, invoke: Invoke, record: Fail) -> None:
        future = record.text.endswith(_FUTURE)
        if asked := revisions_of(invoke.op):
            self.revision_refusals.append(
                invoke.id,
                invoke.c,
                self.members.numbers[invoke.m],
                kind_of(invoke.op),
                invoke.at,
                record.at,
                max(asked) if future else min(asked),
                future,
                is_local(invoke.op),
            )

    def _add_watched(self, sessions: list[int], watched: list[Watched]) -> None:
        keys, values, response, row = (
            self.keys.numbers,
            self.values.numbers,
            len(self.responses),
            len(self.events),
        )
        told = column([len(record.ev) for record in watched])
        responses = self.responses.grow(len(watched))
        responses[ResponseCol.SESSION] = column(sessions)
        responses[ResponseCol.AT] = column([record.at for record in watched])
        responses[ResponseCol.REV] = column([record.rev for record in watched])
        responses[ResponseCol.EVENT] = row + np.cumsum(told) - told
        changes = [event for record in watched for event in record.ev]
        events = self.events.grow(len(changes))
        events[EventCol.SESSION] = np.repeat(responses[ResponseCol.SESSION], told)
        events[EventCol.RESPONSE] = np.repeat(np.arange(response, response + len(watched)), told)
        events[EventCol.REV] = column([event.m for event in changes])
        events[EventCol.KEY] = column([keys[event.k] for event in changes])
        events[EventCol.VALUE] = column([NONE if event.d else values[event.v] for event in changes])
        events[EventCol.CREATE] = column([event.c for event in changes])
        events[EventCol.VERSION] = column([event.ver for event in changes])
        events[EventCol.LEASE] = column([event.l for event in changes])
        events[EventCol.PREV] = NONE
        if previous := [event.p for event in changes if event.p is not None]:
            changed = np.flatnonzero(column([event.p is not None for event in changes]))
            events[EventCol.PREV, changed] = np.arange(len(self.previous), len(self.previous) + len(previous))
            fill_key_values(self.previous.grow(len(previous)), row + changed, previous, keys, values)

    def _frame(self, record: HistoryRecord) -> None:  # noqa: C901 - one arm per record, nothing nested
        match record:
            case WatchStart():
                self._current[record.w] = len(self.sessions)
                self.sessions.append(WatchSession(record))
            case WatchEnd():
                session = self._current.get(record.w)
                self.sessions[self._not_started(record.w) if session is None else session].end = record
                del self._current[record.w]
            case PhaseRecord():
                self.phases.append(record)
            case FaultRecord():
                self.faults.append(record)
            case LeaderRecord():
                self.leaders.append(record)
            case MemberRecord():
                self.member_events.append(record)
            case ClaimRecord():
                self.claims.append(record)
            case CompactionRecord():
                self.compactions.append(record)
            case EpochRecord():
                self.epochs.append(record)
            case RestoredRecord():
                self.restored.append(record)
            case ClientRecord():
                self.client_deaths.append(record)
            case ClockRecord():
                self.clocks.append(record)

    def _begin(self, header: Header, line: int) -> None:
        if line > 1:
            raise misplaced_header(line)
        self.header = header

    def _not_asked(self, record: Ok | Info | Fail) -> None:
        raise without_question(record.id)

    def _not_started(self, watcher: int) -> int:
        raise HistoryMismatchError(f"watcher {watcher} reports, but was not started")
