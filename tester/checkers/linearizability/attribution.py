"""Whose were the changes that nobody acknowledged: unknown outcomes settled by the log.

Each revision of the log without an acknowledged author needs an author of its own among the operations with
unknown outcome, called before the revision was seen; or it was the end of a lease, which nobody asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.calls import Fit, Fitter, Resolved, Row
from tester.checkers.linearizability.candidates import Candidates
from tester.checkers.linearizability.compares import wrong_branches
from tester.checkers.linearizability.writes import wrong_deletions, wrong_revocations
from tester.history.columns import NONE
from tester.history.operations import puts_of
from tester.history.records import Put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.checkers.linearizability.changelog import ChangeLog
    from tester.checkers.linearizability.replay import Replay
    from tester.checkers.linearizability.timeline import Timeline
    from tester.history.history import History
    from tester.history.records import Invoke
    from tester.history.table import Columns

MAX_FITS = 2_000_000
"""Pairs of revision and operation that are tried before giving up."""


class TooManyChoicesError(Exception):
    """The unknown operations and the unclaimed revisions are too many to pair."""


@dataclass(slots=True)
class Attribution:
    """What was found."""

    resolved: Resolved
    unresolved: list[Invoke] = field(default_factory=list)
    """Unknown writes without a place in the log: not applied, or where the log has gaps."""
    unclaimed: list[int] = field(default_factory=list)
    """Revisions whose changes nobody can have asked for."""
    complete: bool = False
    """Every unknown write has its place, or there is no order: nothing can have happened unseen."""


@dataclass(slots=True)
class _Orphan:
    revision: int
    deadline: int
    rows: tuple[Row, ...]
    fits: list[tuple[int, Fit]] = field(default_factory=list)
    """Index of the unknown operation, and the way it fits."""


def attribute(
    replay: Replay, timeline: Timeline, orphans: Columns, lease_ends: Columns, free_from: int, base: int
) -> Attribution:
    """Pair the revisions without an author with unknown operations.

    Args:
        replay: All changes, and the history that the unknown operations come from.
        timeline: For the time by which a revision was seen.
        orphans: Revisions without an acknowledged author, ascending.
        lease_ends: Those of them that may have been the end of a lease: they need no author.
        free_from: The state is known before this revision, so that conditions can be judged.
        base: What is not newer need not have an author.

    Raises:
        TooManyChoicesError: more pairs than ``MAX_FITS``.
    """
    history, log = replay.history, replay.log
    unknown = sorted(history.unknown_writes(), key=lambda invoke: invoke.at)
    candidates = Candidates(replay, unknown)
    found = Attribution(Resolved(history))
    optional = set(lease_ends.tolist())
    settled: set[int] = set()
    orphaned = [orphan for orphan in _orphans(log, timeline, orphans) if orphan.revision not in optional]
    # Whoever needs an author comes first: once it has one, a pairing leaves it with one.
    orphaned.sort(key=lambda orphan: orphan.revision <= base)
    found.complete = _is_complete(replay, unknown, sum(orphan.revision > base for orphan in orphaned))
    needy = []
    for orphan in orphaned:
        author = _obvious_author(orphan, candidates, unknown)
        if author is None or author in settled:
            needy.append(orphan)
        else:
            settled.add(author)
            found.resolved.add_put(unknown[author], orphan.revision, orphan.rows[0])
    _find_fits(history, needy, candidates, unknown, settled)
    known = [orphan for orphan in needy if found.complete or orphan.revision < free_from]
    _drop_contradictions(replay, unknown, known)
    taken = _pair(needy)
    authors = {revision: index for index, revision in taken.items()}
    for orphan in needy:
        author = authors.get(orphan.revision)
        if author is None:
            found.unclaimed.append(orphan.revision)
            continue
        fit = next(fit for index, fit in orphan.fits if index == author)
        found.resolved.add(unknown[author], orphan.revision, fit)
    found.unclaimed.sort()
    settled |= taken.keys()
    found.unresolved = [invoke for index, invoke in enumerate(unknown) if index not in settled]
    return found


def _is_complete(replay: Replay, unknown: Sequence[Invoke], needed: int) -> bool:
    """Whether the revisions that need an author need every unknown write, and no lease can have ended unseen."""
    leased = any(put.l for invoke in unknown for put in puts_of(invoke.op))
    return needed >= len(unknown) and not leased and not replay.leases.any_lease


def _orphans(log: ChangeLog, timeline: Timeline, revisions: Columns) -> list[_Orphan]:
    first, after = log.before(revisions), log.after(revisions)
    width = after - first
    row = np.repeat(first - (np.cumsum(width) - width), width) + np.arange(int(width.sum()))
    before = log.previous[row]
    lease_before = np.where(before == NONE, 0, log.lease[np.maximum(before, 0)])
    columns = (log.key[row], log.value[row], log.lease[row], lease_before)
    rows = iter(zip(*(column.tolist() for column in columns), strict=True))
    deadlines = timeline.deadlines(revisions)
    return [
        _Orphan(revision, deadline, tuple(islice(rows, number)))
        for revision, deadline, number in zip(
            revisions.tolist(), deadlines.tolist(), width.tolist(), strict=True
        )
    ]


def _obvious_author(orphan: _Orphan, candidates: Candidates, unknown: Sequence[Invoke]) -> int | None:
    """The plain put that alone asked for this key and value: what nearly all are."""
    if len(orphan.rows) > 1 or orphan.rows[0][1] == NONE:
        return None
    possible = list(candidates.of(orphan.rows))
    if len(possible) != 1:
        return None
    invoke = unknown[possible[0]]
    fits = isinstance(invoke.op, Put) and invoke.op.l == orphan.rows[0][2] and invoke.at <= orphan.deadline
    return possible[0] if fits else None


def _find_fits(
    history: History,
    orphans: Sequence[_Orphan],
    candidates: Candidates,
    unknown: Sequence[Invoke],
    settled: set[int],
) -> None:
    fitter = Fitter(history)
    tried = 0
    for orphan in orphans:
        for index in candidates.of(orphan.rows):
            if unknown[index].at <= orphan.deadline and index not in settled:
                tried += 1
                orphan.fits += [(index, fit) for fit in fitter.fits(unknown[index].op, orphan.rows)]
        if tried > MAX_FITS:
            raise TooManyChoicesError(f"{tried} pairs of unknown operations and changes without an author")


def _drop_contradictions(replay: Replay, unknown: Sequence[Invoke], orphans: Sequence[_Orphan]) -> None:
    """Leave only fits whose conditions and range deletions agree with the state: then any pairing will do."""
    trial = Resolved(replay.history)
    tried: list[tuple[_Orphan, tuple[int, Fit]]] = []
    for orphan in orphans:
        for index, fit in orphan.fits:
            if fit.nodes or not isinstance(fit.steps[0][0], Put):
                trial.add(unknown[index], orphan.revision, fit)
                tried.append((orphan, (index, fit)))
    calls = trial.calls()
    wrong = {branch.row for branch in wrong_branches(replay, calls)}
    wrong |= {miscount.row for miscount in wrong_deletions(replay, calls)}
    wrong |= {miscount.row for miscount in wrong_revocations(replay, calls)}
    for row in wrong:
        orphan, contradicted = tried[row]
        orphan.fits.remove(contradicted)


def _pair(orphans: Sequence[_Orphan]) -> dict[int, int]:
    """A largest matching, by augmenting paths: unknown operation to revision."""
    taken: dict[int, _Orphan] = {}
    for orphan in orphans:
        parent: dict[int, tuple[_Orphan, int | None]] = {}
        queue: list[tuple[_Orphan, int | None]] = [(orphan, None)]
        free = None
        while queue and free is None:
            current, via = queue.pop()
            for index, _ in current.fits:
                if index in parent:
                    continue
                parent[index] = (current, via)
                if index not in taken:
                    free = index
                    break
                queue.append((taken[index], index))
        while free is not None:
            owner, via = parent[free]
            taken[free] = owner
            free = via
    return {index: orphan.revision for index, orphan in taken.items()}
