"""A history with its operations joined: what every checker reads.

Operations are kept as columns (``tester.history.columns``), not as objects: a million of them fit in a few
hundred megabytes and are judged by array arithmetic. ``extend`` takes the records as they come, as often as
one likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.errors import EtcdChaosError
from tester.history.columns import NONE, EventCol, KvCol, ResponseCol
from tester.history.describe import describe_invoke, describe_joined
from tester.history.operations import Operations, is_write
from tester.history.records import (
    ClientRecord,
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
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.history.table import Interner, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class HistoryMismatchError(EtcdChaosError):
    """Records contradict each other: an answer without a question, or of another kind than the question."""


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
        self.lease_refusals: list[tuple[Invoke, Fail]] = []
        """Operations that were refused because there is no such lease."""
        self.unknown_renewals: list[tuple[Invoke, Info]] = []
        """Grants and keepalives of which nobody knows whether they took effect."""
        self.phases: list[PhaseRecord] = []
        self.faults: list[FaultRecord] = []
        self.leaders: list[LeaderRecord] = []
        self.member_events: list[MemberRecord] = []
        self.client_deaths: list[ClientRecord] = []
        self.invoked = 0
        """Operations seen, whatever their outcome."""
        self._open: dict[int, Invoke] = {}
        self._unknown: dict[int, Invoke] = {}
        self._current: dict[int, int] = {}
        """Session of each watcher."""
        self.extend(records)

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
        for record in records:
            # The frequent kinds first: this loop is what reading a history costs.
            if isinstance(record, Invoke):
                self._invoke(record)
            elif isinstance(record, Ok):
                invoke = self._pop(record)
                try:
                    self.operations.add(invoke, record, self.members.number(invoke.m))
                except ValueError as error:
                    raise HistoryMismatchError(f"operation {record.id}: {error}") from error
            elif isinstance(record, Watched):
                self._watched(record)
            elif isinstance(record, Info | Fail):
                self._not_ok(record)
            else:
                self._frame(record)

    def describe(self, operation_id: int) -> str:
        """One line about an operation, as findings quote it."""
        for outcome, invokes in (("info", self._open), ("info", self._unknown), ("fail", self.failed_writes)):
            if invoke := invokes.get(operation_id):
                return describe_invoke(invoke, outcome)
        return describe_joined(self.operations, self.members.texts, operation_id)

    def _invoke(self, record: Invoke) -> None:
        if record.id in self._open:
            raise HistoryMismatchError(f"operation {record.id} is invoked twice")
        self._open[record.id] = record
        self.invoked += 1

    def _pop(self, record: Ok | Fail | Info) -> Invoke:
        invoke = self._open.pop(record.id, None)
        if invoke is None:
            raise HistoryMismatchError(f"operation {record.id} ends, but was not invoked or has ended before")
        return invoke

    def _not_ok(self, record: Info | Fail) -> None:
        invoke = self._pop(record)
        if isinstance(record, Fail):
            if is_write(invoke.op):
                self.failed_writes[record.id] = invoke
            if record.text.endswith(_NO_LEASE):
                self.lease_refusals.append((invoke, record))
        elif is_write(invoke.op):
            self._unknown[record.id] = invoke
        elif isinstance(invoke.op, LeaseGrant | LeaseKeepAlive):
            self.unknown_renewals.append((invoke, record))

    def _watched(self, record: Watched) -> None:
        session = self._session(record.w)
        response = len(self.responses)
        self.responses.append(session, record.at, record.rev, len(self.events))
        for event in record.ev:
            previous = NONE
            if event.p is not None:
                previous, p = len(self.previous), event.p
                row = (self.keys.number(p.k), self.values.number(p.v), p.c, p.m, p.ver, p.l)
                self.previous.append(len(self.events), *row)
            value = NONE if event.d else self.values.number(event.v)
            key = self.keys.number(event.k)
            self.events.append(session, response, event.m, key, value, event.c, event.ver, event.l, previous)

    def _session(self, watcher: int) -> int:
        session = self._current.get(watcher)
        if session is None:
            raise HistoryMismatchError(f"watcher {watcher} reports, but was not started")
        return session

    def _frame(self, record: HistoryRecord) -> None:
        match record:
            case WatchStart():
                self._current[record.w] = len(self.sessions)
                self.sessions.append(WatchSession(record))
            case WatchEnd():
                self.sessions[self._session(record.w)].end = record
                del self._current[record.w]
            case Header():
                self.header = record
            case PhaseRecord():
                self.phases.append(record)
            case FaultRecord():
                self.faults.append(record)
            case LeaderRecord():
                self.leaders.append(record)
            case MemberRecord():
                self.member_events.append(record)
            case ClientRecord():
                self.client_deaths.append(record)
