"""A bounded search for what the order of revisions leaves open.

Acknowledged operations have their revision, so only this is open: who, if anybody, made the revisions that
neither a watcher nor an answer tells about. The search walks up the revisions, tries every author that real
time allows, and takes the last choice back when an answer does not fit.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.keyorder import KeyOrder
from tester.checkers.linearizability.changelog import UNSEEN
from tester.checkers.linearizability.replayed import Replayer
from tester.checkers.linearizability.store import Change, Store, Version
from tester.history.columns import NONE, EventCol, Kind, LeafCol, OpCol
from tester.history.keyranges import END_OF_KEYS
from tester.history.operations import puts_of
from tester.history.table import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.checkers.linearizability.assembly import Evidences
    from tester.history.endstate import EndState
    from tester.history.records import Invoke

MAX_OPERATIONS = 20_000
MAX_TRIALS = 100_000
"""Revisions and authors that are tried, again after every step back."""


class _GaveUpError(Exception):
    """There was too much to try."""


class Outcome(Enum):
    """How a search ended."""

    FOUND = "found"
    IMPOSSIBLE = "impossible"
    GAVE_UP = "gave up"


@dataclass(slots=True)
class Answer:
    """``operation`` is the one that could not be explained at the furthest point that was reached."""

    outcome: Outcome
    revision: int = 0
    operation: int | None = None


@dataclass(slots=True)
class _Level:
    """A revision with the authors that are left to try."""

    authors: Iterator[tuple[list[Change], int | None]]
    mark: int
    used: int | None = None


class Search:
    """One search over one history."""

    def __init__(self, evidences: Evidences, end: EndState) -> None:
        self._e = evidences
        self._end = end
        history = evidences.history
        self._unknown = sorted(history.unknown_writes(), key=lambda invoke: invoke.at)
        for put in (put for invoke in self._unknown for put in puts_of(invoke.op)):
            history.keys.numbers[put.k]  # before ranks are given
        self._store = Store(history, KeyOrder(history.keys.texts))
        self._replayer = Replayer(history, evidences.calls, self._store)
        self._writer: dict[int, int] = {}
        self._readers: defaultdict[int, list[int]] = defaultdict(list)
        self._revokers: defaultdict[int, list[int]] = defaultdict(list)
        self._enter_operations()
        self._watched = self._enter_events()
        self._told: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for revision, key, value in evidences.told[:3].T.tolist():
            self._told[revision][key] = value
        self._leases = sorted(_leases_of(evidences, self._unknown))
        self._given = self._enter_given()
        self._used: set[int] = set()
        self._tried = 0
        self._furthest = Answer(Outcome.IMPOSSIBLE)

    def run(self) -> Answer:
        """Search.

        Nothing is said about histories of more than ``MAX_OPERATIONS``.
        """
        if self._e.calls.ops.shape[1] > MAX_OPERATIONS:
            return Answer(Outcome.GAVE_UP)
        revisions = self._interesting()
        if len(revisions) > MAX_TRIALS:
            return Answer(Outcome.GAVE_UP)
        self._load_start()
        if not self._answers_fit(self._e.start):
            return self._impossible()
        try:
            found = self._walk(revisions)
        except _GaveUpError:
            return Answer(Outcome.GAVE_UP)
        if found:
            return Answer(Outcome.FOUND)
        return self._impossible()

    def _impossible(self) -> Answer:
        """Nothing fits, unless the store is older than the search goes back: more may have been there before."""
        known = self._e.start in {1, self._e.base} and self._e.unsure == NEVER and not self._goes_beyond()
        return self._furthest if known else Answer(Outcome.GAVE_UP)

    def _goes_beyond(self) -> bool:
        """Whether a range holds keys of other people: of those nothing is known."""
        leaves, history = self._e.calls.leaves, self._e.history
        keys, ends = leaves[LeafCol.KEY], leaves[LeafCol.END]
        ranged = ends != NONE
        return not KeyOrder(history.keys.texts).inside(keys[ranged], ends[ranged], history.prefix).all()

    def _walk(self, revisions: list[int]) -> bool:
        levels: list[_Level] = []
        while len(levels) < len(revisions):
            levels.append(_Level(self._authors(revisions[len(levels)]), self._store.mark()))
            while levels and not self._advance(levels[-1], revisions[len(levels) - 1]):
                levels.pop()
            if not levels:
                return False
        return True

    def _advance(self, level: _Level, revision: int) -> bool:
        """Try the next authors of a revision until all answers at it fit."""
        while True:
            self._store.undo(level.mark)
            if level.used is not None:
                self._used.discard(level.used)
            choice = next(level.authors, None)
            if choice is None:
                return False
            changes, level.used = choice
            self._spend()
            if level.used is not None:
                self._used.add(level.used)
            self._store.commit(revision, changes)
            for key, state in self._given.get(revision, ()):
                self._store.force(key, state)
            if self._answers_fit(revision):
                return True

    # --- who may have made a revision ---------------------------------------------------------------------

    def _authors(self, revision: int) -> Iterator[tuple[list[Change], int | None]]:
        """Changes that the revision may have made, each with the unknown operation that it uses up."""
        for changes, used in self._possible(revision):
            if revision in self._given or self._agrees(revision, changes):
                yield changes, used

    def _possible(self, revision: int) -> Iterator[tuple[list[Change], int | None]]:
        if revision in self._given:
            yield [], None
            return
        writer = self._writer.get(revision)
        if writer is not None:
            mark = self._store.mark()
            changes = self._replayer.run(writer)
            self._store.undo(mark)
            if changes is None:
                self._note(revision, writer)
            else:
                yield changes, None
            return
        if revision not in self._watched and revision not in self._told:
            yield [], None
        deadline = int(self._e.timeline.deadlines(np.array([revision]))[0])
        yield from self._unknown_authors(revision, deadline)
        for row in self._revokers[revision]:
            if self._e.calls.ops[OpCol.CALL, row] <= deadline:
                yield self._store.attached(self._lease_of(row)), None
        for lease in self._leases:
            if changes := self._store.attached(lease):
                yield changes, None

    def _unknown_authors(self, revision: int, deadline: int) -> Iterator[tuple[list[Change], int]]:
        for index, invoke in enumerate(self._unknown):
            if invoke.at > deadline:
                return
            if index in self._used:
                continue
            self._spend()
            for changes in self._store.imagine(revision, invoke.op):
                if changes:
                    yield changes, index

    def _lease_of(self, row: int) -> int:
        return int(self._e.calls.leaves[LeafCol.LEASE, self._e.calls.ops[OpCol.LEAF, row]])

    def _spend(self) -> None:
        self._tried += 1
        if self._tried > MAX_TRIALS:
            raise _GaveUpError

    def _agrees(self, revision: int, changes: list[Change]) -> bool:
        """Whether watchers and readers saw these changes, as far as they saw the revision."""
        seen = self._watched.get(revision)
        if seen is not None:
            if [change for change, _ in seen] != changes:
                return False
            mark = self._store.mark()
            self._store.commit(revision, changes)
            states = [self._store.get(change.key) for change in changes]
            self._store.undo(mark)
            return all(
                change.value == NONE or not version or (create, version) == (state.create, state.version)
                for (change, (create, version)), state in zip(seen, states, strict=True)
            )
        if changes and bool(self._e.watch.covers(np.array([revision]))[0]):
            return False
        made = {change.key: change.value for change in changes}
        told = self._told.get(revision, {})
        return all(
            made.get(key, NONE) == value or (value < NONE and key in made) for key, value in told.items()
        )

    # --- what must fit ------------------------------------------------------------------------------------

    def _answers_fit(self, revision: int) -> bool:
        for row in self._readers[revision]:
            mark = self._store.mark()
            answer = self._replayer.run(row)
            self._store.undo(mark)
            if answer is None or answer:
                self._note(revision, row)
                return False
        for row in self._revokers[revision]:
            if self._store.attached(self._lease_of(row)):
                self._note(revision, row)
                return False
        return self._content_fits(revision)

    def _content_fits(self, revision: int) -> bool:
        texts, values = self._e.history.keys.texts, self._e.history.values.texts
        for member in self._end.members.values():
            if member.content is None or member.hash_revision != revision:
                continue
            prefix = self._e.history.prefix
            mine = [
                (
                    texts[key],
                    "" if state.value == UNSEEN else values[state.value],
                    state.create,
                    state.revision,
                    state.version,
                    state.lease,
                )
                for key, state in self._store.live(self._store.span("", END_OF_KEYS))
                if texts[key].startswith(prefix)
            ]
            if mine != [(kv.k, kv.v, kv.c, kv.m, kv.ver, kv.l) for kv in member.content]:
                self._note(revision, None)
                return False
        return True

    def _note(self, revision: int, row: int | None) -> None:
        if revision >= self._furthest.revision:
            operation = None if row is None else int(self._e.calls.ops[OpCol.ID, row])
            self._furthest = Answer(Outcome.IMPOSSIBLE, revision, operation)

    # --- setting up ---------------------------------------------------------------------------------------

    def _enter_operations(self) -> None:
        ops = self._e.calls.ops
        for row in np.flatnonzero(ops[OpCol.LOCAL] == 0).tolist():
            revision = int(ops[OpCol.REV, row])
            if ops[OpCol.KIND, row] == Kind.REVOKE:
                self._revokers[revision].append(row)
            elif ops[OpCol.WROTE, row] > 0:
                self._writer[revision] = row
            else:
                self._readers[revision].append(row)

    def _enter_events(self) -> dict[int, list[tuple[Change, tuple[int, int]]]]:
        watched: dict[int, list[tuple[Change, tuple[int, int]]]] = {}
        for event in self._e.watch.events.T.tolist():
            change = Change(event[EventCol.KEY], event[EventCol.VALUE], event[EventCol.LEASE])
            told = (event[EventCol.CREATE], event[EventCol.VERSION])
            watched.setdefault(event[EventCol.REV], []).append((change, told))
        return watched

    def _enter_given(self) -> dict[int, list[tuple[int, Version]]]:
        """States from before the first answer that no operation asked for: they were there already."""
        keys, values = self._e.history.keys, self._e.history.values
        asked = {
            (keys.find(put.k), values.find(put.v)) for invoke in self._unknown for put in puts_of(invoke.op)
        }
        asked_keys = {key for key, _ in asked}
        given: defaultdict[int, list[tuple[int, Version]]] = defaultdict(list)
        for revision, key, value, lease, create, version in self._e.told[:6].T.tolist():
            known = key in asked_keys if value == UNSEEN else (key, value) in asked
            if revision <= self._e.base and not known:
                given[revision].append((key, Version(revision, value, create, version, lease)))
        for revision, events in self._watched.items():
            if revision <= self._e.base and not any(
                (change.key, change.value) in asked for change, _ in events
            ):
                given[revision] += [
                    (change.key, Version(revision, change.value, create, version, change.lease))
                    for change, (create, version) in events
                ]
        return given

    def _load_start(self) -> None:
        for revision in sorted(self._given):
            if revision <= self._e.start:
                for key, state in self._given[revision]:
                    self._store.force(key, state)

    def _interesting(self) -> list[int]:
        """Every revision above the base at which something is known, or may have happened unseen."""
        known = {*self._writer, *self._readers, *self._revokers, *self._watched, *self._told}
        known |= {member.hash_revision for member in self._end.members.values() if member.content is not None}
        last = max(known, default=0)
        if self._unknown or self._leases:
            every = np.arange(self._e.start + 1, last + 1)
            known |= set(every[~self._e.watch.covers(every)].tolist())
        return sorted(revision for revision in known if revision > self._e.start)


def _leases_of(evidences: Evidences, unknown: list[Invoke]) -> set[int]:
    leases = set(evidences.calls.leaves[LeafCol.LEASE].tolist())
    leases |= set(evidences.watch.events[EventCol.LEASE].tolist()) | set(evidences.told[3].tolist())
    leases |= {put.l for invoke in unknown for put in puts_of(invoke.op)}
    return leases - {0}
