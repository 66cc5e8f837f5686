"""A history with a disaster in it, as one history per cluster.

A snapshot is a fork: the new cluster goes on from its revision, and what the old one did after that never happened
for it. So each epoch has a *view* of its own, a history of one cluster that any checker can judge::

    whole     ──1──────S────────R─┐                lost by design: S+1 to R
    epoch 1   ──1──────S────────R                  judged to its end
    epoch 2   ──1──────S          └─S+1───────▶    R is not in it

Whether an operation of the old cluster is in the snapshot is read off its revision. Calls about leases change no
revision: real time decides. What had ended before a write of the snapshot was called is in it; what was called after a
write above it was answered, or after the snapshot had come, is not; in between nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from tester.history.columns import NONE, EventCol, KvCol, OpCol
from tester.history.history import History
from tester.history.operations import parts_of, puts_of
from tester.history.records import (
    ClaimRecord,
    Compact,
    Delete,
    EpochRecord,
    Fail,
    Info,
    Invoke,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
    Ok,
    Put,
    RestoredRecord,
    Txn,
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.history.table import NEVER
from tester.history.watchlog import merge_watch_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tester.history.history import WatchSession
    from tester.history.records import HistoryRecord, Operation

_LEASE_CALLS: Final = (LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive)
_NOBODY_KNOWS: Final = "nobody knows whether the snapshot has it"


def epoch_at(history: History, at_ns: int) -> int:
    """The number of epochs that had ended by a time of the run clock."""
    return sum(epoch.at <= at_ns for epoch in history.epochs)


def views_of(whole: History, records: Callable[[], Iterable[HistoryRecord]]) -> tuple[History, ...]:
    """One history per epoch, in their order; ``(whole,)`` where there is but one.

    A view that has ended has the record of its end, and what the next cluster held at its beginning.

    Args:
        whole: the history with all epochs.
        records: reads the same records anew.
    """
    if not whole.epochs:
        return (whole,)
    forks = [_fork(whole, number) for number in range(len(whole.epochs))]
    return tuple(History(_View(forks, number).of(records())) for number in range(len(forks) + 1))


@dataclass(frozen=True, slots=True)
class _Fork:
    """What of an epoch is in the snapshot that ended it."""

    at: int
    revision: int
    inside_until: int
    """What had ended before this time is in it."""
    outside_from: int
    """What was called after this time is not."""
    values: frozenset[str] | None
    """Every value that was written up to the revision; ``None``: not all of them are known."""

    def may_hold(self, op: Operation, called: int) -> bool:
        """Whether what has an unknown outcome may be in it."""
        if called > self.outside_from:
            return False
        if self.values is None or _deletes(op) or not isinstance(op, Put | Txn):
            return True
        return any(put.v in self.values for put in puts_of(op))


def _fork(whole: History, number: int) -> _Fork:
    epoch = whole.epochs[number]
    begun = whole.epochs[number - 1].at if number else -1
    ops = whole.operations.rows.columns
    own = (ops[OpCol.CALL] > begun) & (ops[OpCol.RET] <= epoch.at)
    writes = ops[:, own & (ops[OpCol.LOCAL] == 0) & (ops[OpCol.WROTE] > 0)]
    kept = writes[OpCol.REV] <= epoch.rev
    return _Fork(
        at=epoch.at,
        revision=epoch.rev,
        inside_until=int(writes[OpCol.CALL, kept].max(initial=-1)),
        outside_from=min(epoch.taken, int(writes[OpCol.RET, ~kept].min(initial=NEVER))),
        values=_known_values(whole, number),
    )


def _known_values(whole: History, number: int) -> frozenset[str] | None:
    """Values that a snapshot may hold, if watchers have told all of them."""
    revision = whole.epochs[number].rev

    def belongs(session: WatchSession) -> int:
        """Up to where what it was told is of the cluster that the snapshot is of; what came after it was lost."""
        forks = whole.epochs[epoch_at(whole, session.start.at) : number]
        return min((epoch.rev for epoch in forks), default=revision)

    if not merge_watch_log(whole, belongs).covers_span(1, revision):
        return None
    texts = whole.values.texts
    events, answers = whole.events.columns, whole.operations.answers.columns
    told = events[EventCol.VALUE, (events[EventCol.REV] <= revision) & (events[EventCol.VALUE] != NONE)]
    read = answers[KvCol.VALUE, answers[KvCol.MOD] <= revision]
    return frozenset(texts[number] for number in np.union1d(told, read).tolist())


def _deletes(op: Operation) -> bool:
    return any(isinstance(part, Delete | LeaseRevoke) for part in parts_of(op))


@dataclass(slots=True)
class _View:
    """The records of one epoch: earlier ones as far as its snapshots have them, its own, and its end."""

    forks: Sequence[_Fork]
    number: int
    """0 for the first."""
    _asked: dict[int, tuple[int, Invoke]] = field(default_factory=dict)
    """Operations of earlier epochs that have not ended, and the epoch that they are of."""
    _unwatched: set[int] = field(default_factory=set)
    """Watchers whose streams are not in the view."""

    def of(self, records: Iterable[HistoryRecord]) -> Iterator[HistoryRecord]:
        """Those of ``records`` that are in the view."""
        epoch = 0
        for record in records:
            if isinstance(record, EpochRecord):
                if epoch == self.number:
                    yield record
                epoch += 1
            elif isinstance(record, RestoredRecord):
                if epoch == self.number + 1:
                    yield record
            elif epoch == self.number:
                yield from self._own(record)
            elif epoch < self.number:
                yield from self._earlier(epoch, record)
            elif epoch > self.number + 1:
                break
        yield from self._unended()

    def _own(self, record: HistoryRecord) -> Iterator[HistoryRecord]:
        match record:
            case Ok() | Fail() | Info():
                _, invoke = self._asked.pop(record.id, (0, None))
                if invoke is not None:  # it was called before the epoch began
                    yield invoke
            case WatchStart():
                self._unwatched.discard(record.w)
            case Watched() | WatchEnd() if record.w in self._unwatched:
                return
        yield record

    def _earlier(self, epoch: int, record: HistoryRecord) -> Iterator[HistoryRecord]:
        forks = self.forks[epoch : self.number]
        match record:
            case Invoke():
                self._asked[record.id] = (epoch, record)
            case Ok() | Fail() | Info():
                _, invoke = self._asked.pop(record.id)
                end = _ended(forks, invoke, record)
                if end is not None:
                    yield invoke
                    yield end
            case WatchStart():
                if record.rev > min(fork.revision for fork in forks):
                    self._unwatched.add(record.w)
                    return
                self._unwatched.discard(record.w)
                yield record
            case Watched() | WatchEnd() if record.w in self._unwatched:
                pass
            case Watched():
                yield from _told(forks, record)
            case ClaimRecord():
                pass  # what was believed of a lock was believed of another cluster
            case _:
                yield record

    def _unended(self) -> Iterator[HistoryRecord]:
        for epoch, invoke in self._asked.values():
            if isinstance(invoke.op, Compact) or all(
                fork.may_hold(invoke.op, invoke.at) for fork in self.forks[epoch : self.number]
            ):
                yield invoke


def _ended(forks: Sequence[_Fork], invoke: Invoke, end: Ok | Fail | Info) -> Ok | Fail | Info | None:
    """How an operation of an earlier epoch ended for a later one; ``None``: it is no part of it.

    Watchers of the earlier one may have been told of its compactions: those are kept, as asked for at least.
    """
    if isinstance(invoke.op, Compact):
        # It takes no revision: only what came before a write of the snapshot is in it.
        kept = not isinstance(end, Ok) or all(end.at < fork.inside_until for fork in forks)
        return end if kept else Info(end.id, end.at, "UNKNOWN", _NOBODY_KNOWS)
    if isinstance(end, Ok) and not isinstance(invoke.op, _LEASE_CALLS):
        return end if all(end.rev <= fork.revision for fork in forks) else None
    if isinstance(end, Info):
        return end if all(fork.may_hold(invoke.op, invoke.at) for fork in forks) else None
    if all(end.at < fork.inside_until for fork in forks):
        return end
    if isinstance(end, Fail) or isinstance(invoke.op, LeaseTimeToLive):
        return None  # a refusal may be of a state that never came
    if any(invoke.at > fork.outside_from or end.rev > fork.revision for fork in forks):
        return None
    return Info(end.id, end.at, "UNKNOWN", _NOBODY_KNOWS)


def _told(forks: Sequence[_Fork], response: Watched) -> Iterator[Watched]:
    """A response as far as the later epoch's log has it."""
    revision = min(fork.revision for fork in forks)
    if response.rev <= revision:
        yield response
    elif events := tuple(event for event in response.ev if event.m <= revision):
        yield msgspec.structs.replace(response, rev=revision, ev=events)
