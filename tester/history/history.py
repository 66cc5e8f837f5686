"""A history with its operations joined: what every checker reads.

Operations are kept as columns (``tester.history.columns``), not as objects: a million of them fit in a few
hundred megabytes and are judged by array arithmetic. ``extend`` takes the records as they come, as often as
one likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from tester.errors import EtcdChaosError
from tester.history.columns import NONE, EventCol, Kind, KvCol, ResponseCol
from tester.history.describe import describe_invoke, describe_joined
from tester.history.operations import Operations, is_write, range_flags
from tester.history.records import (
    ClaimRecord,
    ClientRecord,
    Compact,
    CompactionRecord,
    Fail,
    FaultRecord,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    LeaderRecord,
    LeaseGrant,
    LeaseKeepAlive,
    MemberRecord,
    Ok,
    PhaseRecord,
    Put,
    Range,
    RangeResult,
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.history.table import Interner, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


T = TypeVar("T")

# Looked up for every operation: a member of an IntEnum costs several times as much as an int.
_PUT, _RANGE = int(Kind.PUT), int(Kind.RANGE)

_BATCH = 5000
"""Records that are taken before their numbers become columns: few enough to stay in the cache."""


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
        self.unknown_compactions: list[Invoke] = []
        """Compactions of which nobody knows whether they were done; those in flight are ``unfinished``."""
        self.compactions: list[CompactionRecord] = []
        """Those of the tester; clients' are among the operations."""
        self.phases: list[PhaseRecord] = []
        self.faults: list[FaultRecord] = []
        self.leaders: list[LeaderRecord] = []
        self.member_events: list[MemberRecord] = []
        self.claims: list[ClaimRecord] = []
        self.client_deaths: list[ClientRecord] = []
        self._open: dict[int, Invoke] = {}
        self._unknown: dict[int, Invoke] = {}
        self._current: dict[int, int] = {}
        """Session of each watcher."""
        self._kept: dict[type, tuple[object, object]] = {}
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
        self._kept.clear()
        remaining = iter(records)
        while batch := list(islice(remaining, _BATCH)):
            self._take(batch)
            self.operations.pack()
            for table in (self.responses, self.events, self.previous):
                table.pack()

    # One loop, and the plain operations spelled out in it: reading a history costs what this loop costs, and a
    # call per record would double that.
    def _take(self, batch: list[HistoryRecord]) -> None:  # noqa: C901
        opened, end = self._open, self._open.pop
        keys, values, members = self.keys.numbers, self.values.numbers, self.members.numbers
        operations = self.operations
        rows, leaves, answers = operations.rows, operations.leaves, operations.answers
        row, leaf, answer = rows.size, leaves.size, answers.size
        for record in batch:
            if type(record) is Invoke:
                if opened.setdefault(record.id, record) is not record:
                    raise HistoryMismatchError(f"operation {record.id} is invoked twice")
            elif type(record) is Ok:
                asked = end(record.id, None)
                if asked is None:
                    raise without_question(record.id)
                member = members.setdefault(asked.m, len(members))
                op, out = asked.op, record.out
                if type(op) is Put and out is None:
                    kind, local, wrote = _PUT, 0, 1
                    key, value = keys.setdefault(op.k, len(keys)), values.setdefault(op.v, len(values))
                    leaves.new += (row, kind, key, NONE, value, op.l, 0, 0, 0, 0, 0, answer)
                elif type(op) is Range and not op.e and type(out) is RangeResult:
                    kind, local, wrote = _RANGE, op.s, 0
                    key, flags = keys.setdefault(op.k, len(keys)), range_flags(op, out)
                    leaves.new += (row, kind, key, NONE, NONE, 0, 0, out.count, op.r, op.n, flags, answer)
                    for kv in out.kv:
                        key, value = keys.setdefault(kv.k, len(keys)), values.setdefault(kv.v, len(values))
                        answers.new += (leaf, key, value, kv.c, kv.m, kv.ver, kv.l)
                        answer += 1
                else:
                    rows.size, leaves.size, answers.size = row, leaf, answer
                    try:
                        operations.add(asked, record, member)
                    except ValueError as error:
                        raise HistoryMismatchError(f"operation {record.id}: {error}") from error
                    row, leaf, answer = rows.size, leaves.size, answers.size
                    continue
                who = (record.id, asked.c, member, kind)
                rows.new += (*who, asked.at, record.at, record.rev, local, wrote, leaf)
                row += 1
                leaf += 1
            elif type(record) is Watched:
                self._watched(record)
            elif isinstance(record, Info | Fail):
                self._not_ok(record)
            else:
                self._frame(record)
        rows.size, leaves.size, answers.size = row, leaf, answer

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
        return describe_joined(self.operations, self.members.texts, operation_id)

    def _not_ok(self, record: Info | Fail) -> None:
        invoke = self._open.pop(record.id, None)
        if invoke is None:
            raise without_question(record.id)
        if isinstance(record, Fail):
            if is_write(invoke.op):
                self.failed_writes[record.id] = invoke
            if record.text.endswith(_NO_LEASE):
                self.lease_refusals.append((invoke, record))
        elif is_write(invoke.op):
            self._unknown[record.id] = invoke
        elif isinstance(invoke.op, LeaseGrant | LeaseKeepAlive):
            self.unknown_renewals.append((invoke, record))
        elif isinstance(invoke.op, Compact):
            self.unknown_compactions.append(invoke)

    def _watched(self, record: Watched) -> None:
        session = self._session(record.w)
        responses, events = self.responses, self.events
        keys, values = self.keys.numbers, self.values.numbers
        response, row = responses.size, events.size
        responses.append(session, record.at, record.rev, row)
        for event in record.ev:
            previous = NONE if event.p is None else self._add_previous(row, event.p)
            value = NONE if event.d else values.setdefault(event.v, len(values))
            key = keys.setdefault(event.k, len(keys))
            events.new += (session, response, event.m, key, value, event.c, event.ver, event.l, previous)
            row += 1
        events.size = row

    def _add_previous(self, event_row: int, kv: KeyValue) -> int:
        key, value = self.keys.number(kv.k), self.values.number(kv.v)
        self.previous.append(event_row, key, value, kv.c, kv.m, kv.ver, kv.l)
        return self.previous.size - 1

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
            case ClaimRecord():
                self.claims.append(record)
            case CompactionRecord():
                self.compactions.append(record)
            case ClientRecord():
                self.client_deaths.append(record)


def without_question(operation_id: int) -> HistoryMismatchError:
    """For an end without an invocation."""
    return HistoryMismatchError(f"operation {operation_id} ends, but was not invoked or has ended before")
