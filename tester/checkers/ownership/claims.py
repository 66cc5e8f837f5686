"""What clients believed, and what they wrote in that belief, compared with the order of revisions."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS
from tester.checkers.ownership.holders import Holder, Holders
from tester.history.columns import NONE, EventCol, Kind, LeafCol, OpCol
from tester.history.keyranges import in_range
from tester.history.operations import puts_of
from tester.history.watchlog import WatchLog, merge_watch_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.checkers.base import Evidence
    from tester.history.history import History
    from tester.history.records import ClaimRecord
    from tester.history.table import Columns


class ClaimJudge:
    """Judges the claims of one kind."""

    def __init__(self, history: History, evidence: Evidence, kind: str) -> None:
        self._history = history
        self._evidence = evidence
        self._claims = [claim for claim in history.claims if claim.kind == kind]
        self.held = [claim for claim in self._claims if claim.state == "held"]
        self.observed = [claim for claim in self._claims if claim.state == "observed"]
        self.watch: WatchLog = merge_watch_log(history)
        names = {claim.name for claim in self._claims}
        self._holders = {name: Holders(history, self.watch, name) for name in names}
        self.writes = 0
        """Changes of guarded keys that were judged."""

    def judge_tokens(self) -> None:
        """Nobody is given what somebody else was given: one client per fencing token."""
        owners: dict[tuple[str, int], ClaimRecord] = {}
        for claim in self.held:
            first = owners.setdefault((claim.k, claim.rev), claim)
            if first.c != claim.c:
                self._tell(claim, f"and so did client {first.c} at {_at(first)}")

    def judge_holders(self) -> None:
        """Whoever is believed to be the holder was first at the revision that showed it."""
        for claim in (*self.held, *self.observed):
            holders = self._holders[claim.name]
            if not holders.knows(claim.seen):
                self._doubt(claim.seen)
                continue
            holder = holders.at(claim.seen)
            if holder is None or (holder.key, holder.created) != (claim.k, claim.rev):
                self._tell(claim, f"but at that revision {_words(holder)} was first", holder)
            elif claim.state == "observed" and claim.v != holder.value:
                self._tell(claim, f"with value {claim.v}, but its value was {holder.value}", holder)

    def judge_observers(self) -> None:
        """Observers agree, and none goes back: also where the log has a gap."""
        told: dict[tuple[str, int], ClaimRecord] = {}
        by_client: defaultdict[tuple[str, int], list[ClaimRecord]] = defaultdict(list)
        for claim in self.observed:
            first = told.setdefault((claim.name, claim.seen), claim)
            if (first.k, first.rev, first.v) != (claim.k, claim.rev, claim.v):
                other = f"{first.k} (created at {first.rev}, value {first.v})"
                self._tell(claim, f"but client {first.c} was shown {other} at the same revision")
            by_client[claim.name, claim.c].append(claim)
        for claims in by_client.values():
            for before, after in pairwise(sorted(claims, key=lambda claim: claim.at)):
                if after.seen < before.seen or after.rev < before.rev:
                    what = f"{before.k}, created at {before.rev}, as of revision {before.seen}"
                    self._tell(after, f"after it had been shown {what}")

    def judge_guards(self) -> None:
        """Only who holds it writes what is guarded: a write by anybody else was not fenced."""
        guards = {claim.guard: claim.name for claim in self.held if claim.guard}
        owner = {(claim.k, claim.rev): claim.c for claim in self.held}
        events = self.watch.events
        for guard, name in guards.items():
            number = self._history.keys.find(guard)
            if number is None:
                continue
            rows = np.flatnonzero(events[EventCol.KEY] == number)
            holders, authors = self._holders[name], dict(self._authors(guard, number))
            deleted = events[EventCol.REV, rows[events[EventCol.VALUE, rows] == NONE]]
            deleters = dict(self._deleters(guard, deleted))
            columns = (events[EventCol.REV, rows], events[EventCol.VALUE, rows])
            for revision, value in zip(*(column.tolist() for column in columns), strict=True):
                if not holders.knows(revision):
                    self._doubt(revision)
                    continue
                author = authors.get(value) if value != NONE else deleters.get(revision)
                if author is None:
                    continue  # nobody asked for it: the linearizability checker says so
                self.writes += 1
                holder = holders.at(revision - 1)
                if holder is None or owner.get((holder.key, holder.created)) != author[0]:
                    self._tell_write(author, guard, revision, holder, owner)
            self._doubt_unseen(guard, number)

    def _doubt_unseen(self, guard: str, number: int) -> None:
        """Changes of a guarded key that were acknowledged, of a revision of which no watcher tells."""
        leaves, ops = self._history.operations.leaves.columns, self._history.operations.rows.columns
        put = (leaves[LeafCol.KIND] == Kind.PUT) & (leaves[LeafCol.KEY] == number)
        written = ops[OpCol.REV, leaves[LeafCol.OP, put]]
        gaps = ops[OpCol.REV, (ops[OpCol.WROTE] > 0) & ~self.watch.covers(ops[OpCol.REV])]
        deleted = np.array([revision for revision, _ in self._deleters(guard, gaps)], dtype=np.int64)
        unseen = np.intersect1d(np.concatenate([written, deleted]), gaps)
        for revision in unseen[:MAX_FINDINGS].tolist():
            self._doubt(revision)

    def overlaps(self) -> int:
        """How often a client still believed to hold what another held: leases cannot prevent it, fencing can."""
        ends: dict[tuple[int, str, int], int] = {}
        for claim in self._claims:
            if claim.state in {"released", "lost"}:
                ends[claim.c, claim.k, claim.rev] = claim.at
        spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for claim in self.held:
            end = ends.get((claim.c, claim.k, claim.rev))
            if end is not None:
                spans[claim.name].append((claim.at, end))
        return sum(
            later[0] < earlier[1] for found in spans.values() for earlier, later in pairwise(sorted(found))
        )

    def _authors(self, guard: str, number: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """By value of the guarded key: who asked for it, and by which operation."""
        leaves, ops = self._history.operations.leaves.columns, self._history.operations.rows.columns
        rows = np.flatnonzero((leaves[LeafCol.KIND] == Kind.PUT) & (leaves[LeafCol.KEY] == number))
        owner = leaves[LeafCol.OP, rows]
        for value, client, operation in zip(
            leaves[LeafCol.VALUE, rows].tolist(),
            ops[OpCol.CLIENT, owner].tolist(),
            ops[OpCol.ID, owner].tolist(),
            strict=True,
        ):
            yield value, (client, operation)
        for invoke in self._history.unknown_writes():
            for put in puts_of(invoke.op):
                if put.k == guard and (value := self._history.values.find(put.v)) is not None:
                    yield value, (invoke.c, invoke.id)

    def _deleters(self, guard: str, revisions: Columns) -> Iterator[tuple[int, tuple[int, int]]]:
        """By revision: who deleted the guarded key there, and by which operation."""
        leaves, ops = self._history.operations.leaves.columns, self._history.operations.rows.columns
        deleting = np.flatnonzero((leaves[LeafCol.KIND] == Kind.DELETE) & (leaves[LeafCol.COUNT] > 0))
        rows = deleting[np.isin(ops[OpCol.REV, leaves[LeafCol.OP, deleting]], revisions)]
        texts = self._history.keys.texts
        for key, end, owner in leaves[[LeafCol.KEY, LeafCol.END, LeafCol.OP]][:, rows].T.tolist():
            until = texts[end] if end != NONE else ""
            if in_range(guard, texts[key], until):
                revision, client, operation = ops[[OpCol.REV, OpCol.CLIENT, OpCol.ID], owner].tolist()
                yield revision, (client, operation)

    def _tell(self, claim: ClaimRecord, what: str, holder: Holder | None = None) -> None:
        operations, members = self._shown_by(claim)
        verb = "was shown" if claim.state == "observed" else "held"
        self._evidence.violation(
            f"client {claim.c} {verb} {claim.kind} {claim.name} by {claim.k} (created at {claim.rev}) at"
            f" {_at(claim)}, as of revision {claim.seen}, {what}",
            operations=operations,
            members=members,
            revisions=[claim.rev, claim.seen, *([holder.created] if holder else [])],
        )

    def _shown_by(self, claim: ClaimRecord) -> tuple[list[int], list[str]]:
        """The operation that showed a claim, and the member that answered it, where the history has them."""
        ops = self._history.operations.rows.columns
        told = (ops[OpCol.CLIENT] == claim.c) & (ops[OpCol.REV] == claim.seen) & (ops[OpCol.RET] <= claim.at)
        rows = np.flatnonzero(told)
        if not rows.size:
            return [], []
        last = rows[np.argmax(ops[OpCol.RET, rows])]
        return [int(ops[OpCol.ID, last])], [self._history.members.texts[ops[OpCol.MEMBER, last]]]

    def _tell_write(
        self,
        author: tuple[int, int],
        guard: str,
        revision: int,
        holder: Holder | None,
        owner: dict[tuple[str, int], int],
    ) -> None:
        whose = owner.get((holder.key, holder.created)) if holder is not None else None
        other = f" of client {whose}" if whose is not None else ""
        self._evidence.violation(
            f"{self._history.describe(author[1])} changed the guarded key {guard} at revision {revision},"
            f" while {_words(holder)}{other} was first",
            operations=[author[1]],
            revisions=[revision, *([holder.created] if holder else [])],
        )

    def _doubt(self, revision: int) -> None:
        self._evidence.doubt(
            f"the {self.watch.describe()} has a gap: who was first at revision {revision}, is not known"
        )


def _words(holder: Holder | None) -> str:
    return "nobody" if holder is None else f"{holder.key} (created at {holder.created})"


def _at(claim: ClaimRecord) -> str:
    return f"{claim.at / 1e9:.6f} s"
