"""Real time against the order of revisions: what had ended before another began must not come after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.revisions import RevisionIndex
from tester.history.columns import NONE, EventCol, OpCol, ResponseCol
from tester.history.table import NEVER, Columns

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History


@dataclass(frozen=True, slots=True)
class Sightings:
    """Times at which somebody saw that a revision exists, other than by a linearizable answer."""

    what: str
    places: RevisionIndex
    earliest: Columns
    """At each place, the earliest time of it and all later places; one longer, the last is ``NEVER``."""

    @staticmethod
    def of(what: str, revision: Columns, at: Columns) -> Sightings:
        """From unsorted columns."""
        order = np.argsort(revision, kind="stable")
        return Sightings(what, RevisionIndex(revision[order]), earliest_from(at[order]))

    def before(self, revision: Columns) -> Columns:
        """The earliest sighting of each revision, or of a later one."""
        return self.earliest[self.places.at_or_above(revision)]


@dataclass(frozen=True, slots=True)
class Disorder:
    """``operation`` was called after ``time``, when a later place in the order had been seen already."""

    operation: int
    time: int
    other: int
    """The operation that had ended; ``NONE``: it was another sighting."""
    what: str


def earliest_from(times: Columns) -> Columns:
    """Minimum of each place and all behind it, and ``NEVER`` at the end."""
    return np.append(np.minimum.accumulate(times[::-1])[::-1], NEVER)


class Timeline:
    """Operations that are not local, in the order of their revisions."""

    def __init__(self, ops: Columns, sightings: list[Sightings]) -> None:
        """``OpCol`` columns; every operation's ``WROTE`` must be known."""
        rows = np.flatnonzero(ops[OpCol.LOCAL] == 0)
        # The writer of a revision comes first, then whoever read it.
        position = 2 * ops[OpCol.REV, rows] + (ops[OpCol.WROTE, rows] == 0)
        order = np.argsort(position, kind="stable")
        self._ops = ops
        self._rows = rows[order]
        self._position = position[order]
        self._earliest = earliest_from(ops[OpCol.RET, self._rows])
        self.sightings = sightings

    def deadlines(self, revisions: Columns) -> Columns:
        """The time by which each revision surely existed: whoever made it was called before."""
        after = np.searchsorted(self._position, 2 * revisions, side="right")
        deadline = self._earliest[after]
        for sightings in self.sightings:
            deadline = np.minimum(deadline, sightings.before(revisions))
        return deadline

    def disorders(self, limit: int) -> tuple[list[Disorder], int]:
        """The first violations of real time, and how many there are."""
        call = self._ops[OpCol.CALL, self._rows]
        ends = np.flatnonzero(np.append(self._position[1:] != self._position[:-1], True)) + 1
        behind = np.repeat(ends, np.diff(ends, prepend=0))
        late = [self._earliest[behind] < call]
        # A writer of revision r is seen by sightings of r, a reader of r by sightings of r + 1 only.
        bound = (self._position + 1) >> 1
        late += [sightings.before(bound) < call for sightings in self.sightings]
        wrong = np.flatnonzero(np.logical_or.reduce(late))
        return [self._explain(int(place), int(behind[place])) for place in wrong[:limit]], int(wrong.size)

    def duplicates(self) -> Columns:
        """Ids of writers that share their revision with another writer."""
        writers = np.flatnonzero(self._position & 1 == 0)
        revision = self._position[writers]
        same = np.flatnonzero(revision[1:] == revision[:-1])
        shared = writers[np.union1d(same, same + 1)]
        ids: Columns = self._ops[OpCol.ID, self._rows[shared]]
        return ids

    def _explain(self, place: int, behind: int) -> Disorder:
        row = self._rows[place]
        bound = np.array([(self._position[place] + 1) >> 1])
        operation = int(self._ops[OpCol.ID, row])
        best = Disorder(operation, int(self._earliest[behind]), NONE, "")
        if best.time != NEVER:
            culprit = self._rows[behind + int(np.argmin(self._ops[OpCol.RET, self._rows[behind:]]))]
            best = Disorder(operation, best.time, int(self._ops[OpCol.ID, culprit]), "")
        for sightings in self.sightings:
            time = int(sightings.before(bound)[0])
            if time < best.time:
                best = Disorder(operation, time, NONE, sightings.what)
        return best


def sightings_of(history: History, end: EndState) -> list[Sightings]:
    """Watch responses, serializable answers, and the content at the end."""
    responses, events = history.responses.columns, history.events.columns
    found: list[Sightings] = []
    if responses.shape[1]:
        last = np.append(responses[ResponseCol.EVENT][1:], events.shape[1]) - 1
        has_events = last >= responses[ResponseCol.EVENT]
        seen = responses[ResponseCol.REV].copy()
        seen[has_events] = np.maximum(seen[has_events], events[EventCol.REV, last[has_events]])
        found.append(Sightings.of("a watcher was told", seen, responses[ResponseCol.AT]))
    ops = history.operations.rows.columns
    local = ops[:, ops[OpCol.LOCAL] == 1]
    if local.shape[1]:
        found.append(Sightings.of("a serializable answer told", local[OpCol.REV], local[OpCol.RET]))
    read = [member.hash_revision for member in end.members.values() if member.content is not None]
    if read:
        times = np.full(len(read), end.at, dtype=np.int64)
        found.append(Sightings.of("the content at the end told", np.array(read, dtype=np.int64), times))
    return found
