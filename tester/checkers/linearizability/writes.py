"""Rules about changes: each was asked for once, is in the log as asked, and follows from the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS
from tester.checkers.linearizability.quote import author_of, change_at, changes_of, key_state
from tester.history.columns import NONE, Kind, LeafCol, OpCol
from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.checkers.linearizability.assembly import Assembly, Evidences
    from tester.checkers.linearizability.calls import Calls
    from tester.checkers.linearizability.replay import Replay
    from tester.checkers.linearizability.ruling import Ruling
    from tester.history.table import Columns


def judge_order(case: Evidences, ruling: Ruling) -> None:
    """Real time, and one writer per revision."""
    describe = case.history.describe
    duplicates = case.timeline.duplicates().tolist()
    ruling.more(len(duplicates) - MAX_FINDINGS)
    for operation in duplicates[:MAX_FINDINGS]:
        ruling.violation(
            f"more than one write has the revision of {describe(operation)}", operations=[operation]
        )
    shown, total = case.timeline.disorders(MAX_FINDINGS)
    for disorder in shown:
        seen = f"{disorder.what} of a later revision"
        other = f"{describe(disorder.other)} had ended, which comes later" if disorder.other != NONE else seen
        ruling.violation(
            f"{describe(disorder.operation)}; before it was called, at {disorder.time / 1e9:.6f} s, {other}",
            operations=[disorder.operation, *([disorder.other] if disorder.other != NONE else [])],
        )
    ruling.more(total - len(shown))


def judge_authors(case: Assembly, ruling: Ruling) -> None:
    """Changes that nobody asked for."""
    ruling.more(len(case.unclaimed) - MAX_FINDINGS)
    for revision in case.unclaimed[:MAX_FINDINGS]:
        text = changes_of(case, revision)
        blamed = [
            invoke.id
            for invoke in case.history.failed_writes.values()
            if _mentions(case, invoke.id, revision)
        ]
        failed = f", and {case.history.describe(blamed[0])} said that it did not" if blamed else ""
        ruling.violation(
            f"nobody asked for what revision {revision} changed, or it happened twice: {text}{failed}",
            operations=blamed,
            revisions=[revision],
            certain=revision < case.free_from,
        )


def _mentions(case: Assembly, operation: int, revision: int) -> bool:
    """Whether a failed operation asked for a value of this revision."""
    low, high = case.log.before(np.array([revision]))[0], case.log.after(np.array([revision]))[0]
    values = [case.history.values.texts[value] for value in case.log.value[low:high] if value >= 0]
    return any(f"= {value}" in case.history.describe(operation) for value in values)


def judge_changes(case: Assembly, ruling: Ruling) -> None:
    """Each write is in the log at its revision, whole and with its content."""
    ops = case.calls.ops
    writers = np.flatnonzero(ops[OpCol.WROTE] > 0)
    revision = ops[OpCol.REV, writers]
    found = case.log.after(revision) - case.log.before(revision)
    wrong = np.zeros(ops.shape[1], dtype=bool)
    wrong[writers] = found != ops[OpCol.WROTE, writers]
    wrong[case.calls.leaves[LeafCol.OP, _misplaced(case)]] = True
    beyond = _beyond(case)  # other people's keys are not in the log
    revision = ops[OpCol.REV, beyond]
    wrong[beyond] = case.log.after(revision) - case.log.before(revision) > ops[OpCol.WROTE, beyond]
    for row in np.flatnonzero(wrong)[:MAX_FINDINGS]:
        operation, at = int(ops[OpCol.ID, row]), int(ops[OpCol.REV, row])
        ruling.violation(
            f"{case.history.describe(operation)}; but revision {at} changed {changes_of(case, at)}",
            operations=[operation],
            revisions=[at],
        )
    ruling.more(int(wrong.sum()) - MAX_FINDINGS)


def _beyond(case: Assembly) -> Columns:
    """Operations that deleted in a range in which other people may have keys."""
    leaves = case.calls.leaves
    ranged = np.flatnonzero((leaves[LeafCol.KIND] == Kind.DELETE) & (leaves[LeafCol.END] != NONE))
    if not ranged.size:
        return ranged
    keys, ends = leaves[LeafCol.KEY, ranged], leaves[LeafCol.END, ranged]
    beyond = ~case.replay.order.inside(keys, ends, case.history.prefix)
    return np.unique(leaves[LeafCol.OP, ranged[beyond]])


def _misplaced(case: Assembly) -> Columns:
    """Leaves whose changes are not at their places in the log as asked for."""
    leaves, log = case.calls.leaves, case.log
    kind, count = leaves[LeafCol.KIND], leaves[LeafCol.COUNT]
    changed = np.flatnonzero((kind == Kind.PUT) | ((kind == Kind.DELETE) & (count > 0)))
    if not log.size:
        return changed
    revision = case.calls.ops[OpCol.REV, leaves[LeafCol.OP, changed]]
    first = log.before(revision) + leaves[LeafCol.SLOT, changed]
    row = np.minimum(first, log.size - 1)
    # The leaf of a deletion has the value and the lease that a deletion has in the log: none.
    wrong = log.revision[row] != revision
    wrong |= log.key[row] != leaves[LeafCol.KEY, changed]
    wrong |= log.value[row] != leaves[LeafCol.VALUE, changed]
    wrong |= log.lease[row] != leaves[LeafCol.LEASE, changed]
    wrong |= count[changed] > 1
    wrong |= first >= log.size
    ranged = np.flatnonzero(leaves[LeafCol.END, changed] != NONE)
    if ranged.size:
        deleted, after = count[changed[ranged]], log.after(revision[ranged])
        short = first[ranged] + deleted > after
        whole = ranged[~short]
        wrong[ranged] = short
        wrong[whole[_ranged_differs(case, leaves[:, changed[whole]], first[whole])]] = True
    misplaced: Columns = changed[wrong]
    return misplaced


def _ranged_differs(case: Assembly, leaves: Columns, first: Columns) -> Columns:
    order, log, count = case.replay.order, case.log, leaves[LeafCol.COUNT]
    low, high = order.spans(leaves[LeafCol.KEY], leaves[LeafCol.END])
    owner = np.repeat(np.arange(count.size), count)
    offset = np.arange(owner.size) - np.repeat(np.cumsum(count) - count, count)
    rows = first[owner] + offset
    rank = order.rank[log.key[rows]]
    wrong = (log.value[rows] != NONE) | (rank < low[owner]) | (rank >= high[owner])
    return np.unique(owner[wrong])


@dataclass(frozen=True, slots=True)
class Miscount:
    """An operation that deleted another number of keys than were there."""

    row: int
    there: int
    deleted: int
    key: int = NONE
    """First of the range; ``NONE``: of a lease."""
    end: int = NONE
    place: int = 0
    """In the log, where it deleted."""


def wrong_deletions(replay: Replay, calls: Calls) -> list[Miscount]:
    """Deletions of more or fewer keys of their range than are there at their place."""
    own = calls.leaves[:, np.flatnonzero(calls.leaves[LeafCol.KIND] == Kind.DELETE)]
    owner, deleted = own[LeafCol.OP], own[LeafCol.COUNT]
    place = replay.place_of(calls, owner, own[LeafCol.SLOT])
    row = replay.log.row_at(own[LeafCol.KEY], place)
    there = replay.log.is_live(row).astype(np.int64)
    ranged = np.flatnonzero(own[LeafCol.END] != NONE)
    inside = np.ones(ranged.shape, dtype=bool)
    if ranged.size:
        keys, ends = own[LeafCol.KEY, ranged], own[LeafCol.END, ranged]
        there[ranged] = replay.live.count(place[ranged], *replay.order.spans(keys, ends))
        inside = replay.order.inside(keys, ends, replay.history.prefix)
    might = replay.is_open(own[LeafCol.KEY], row).astype(np.int64)
    might[ranged] = np.where(inside & (not replay.log.unsure), 0, NEVER)
    wrong = np.flatnonzero((deleted < there) | (deleted > there + might))
    wrong = wrong[np.argsort(calls.ops[OpCol.REV, owner[wrong]], kind="stable")]
    told = (owner, there, deleted, own[LeafCol.KEY], own[LeafCol.END], place)
    return [Miscount(*(int(column[leaf]) for column in told)) for leaf in wrong]


def wrong_revocations(replay: Replay, calls: Calls) -> list[Miscount]:
    """Revocations that did not delete exactly the keys attached to their lease."""
    own = calls.leaves[:, calls.leaves[LeafCol.KIND] == Kind.REVOKE]
    owner = own[LeafCol.OP]
    deleted = calls.ops[OpCol.WROTE, owner]
    attached = replay.leases.attached(own[LeafCol.LEASE], replay.place_of(calls, owner))
    wrong = np.flatnonzero((attached > deleted) | ((attached < deleted) & (not replay.log.unsure)))
    return [Miscount(int(owner[leaf]), int(attached[leaf]), int(deleted[leaf])) for leaf in wrong]


def judge_deletions(case: Assembly, ruling: Ruling) -> None:
    """A deletion deletes every key of its range that is there, a revocation every key of its lease."""
    ops, keys = case.calls.ops, case.history.keys.texts
    for what, wrong in (
        ("such keys were there", wrong_deletions(case.replay, case.calls)),
        ("keys were attached", wrong_revocations(case.replay, case.calls)),
    ):
        ruling.more(len(wrong) - MAX_FINDINGS)
        for miscount in wrong[:MAX_FINDINGS]:
            operation, revision = int(ops[OpCol.ID, miscount.row]), int(ops[OpCol.REV, miscount.row])
            left = _left(case, miscount)
            author = author_of(case, left, miscount.place)
            ruling.violation(
                f"{case.history.describe(operation)}; at its place {miscount.there} {what},"
                f" {miscount.deleted} were deleted{'' if left == NONE else f': {keys[left]} was left'}",
                operations=[operation] if author is None else [operation, author],
                revisions=[revision],
                certain=revision < case.free_from,
            )


def _left(case: Assembly, miscount: Miscount) -> int:
    """The first key of a deleted range that was there before and after; ``NONE``: there is none."""
    if miscount.key == NONE or miscount.deleted >= miscount.there:
        return NONE
    order, log = case.replay.order, case.log
    low, high = order.spans(np.array([miscount.key]), np.array([miscount.end]))
    keys = order.by_rank[low[0] : high[0]]
    before, after = (
        log.is_live(log.row_at(keys, np.full(keys.shape, place)))
        for place in (miscount.place, miscount.place + miscount.deleted)
    )
    left = keys[before & after]
    return int(left[0]) if left.size else NONE


def judge_log(case: Assembly, ruling: Ruling) -> None:
    """What watchers were told about a change follows from the changes before it."""
    log = case.log
    told = (log.told_version > 0) & (log.value != NONE)
    wrong = told & ((log.told_version != log.version) | (log.told_create != log.create))
    ruling.more(int(wrong.sum()) - MAX_FINDINGS)
    for row in np.flatnonzero(wrong)[:MAX_FINDINGS]:
        key, revision = int(log.key[row]), int(log.revision[row])
        ruling.violation(
            f"watchers were told of {change_at(case, int(row))} with create revision {log.told_create[row]}"
            f" and version {log.told_version[row]}; from the changes before it follow {log.create[row]} and"
            f" {log.version[row]} ({key_state(case, key, int(row))})",
            revisions=[revision],
            certain=revision < case.free_from,
        )
    gone = (log.value == NONE) & ~log.is_live(log.previous)
    gone &= ~case.replay.is_open(log.key, log.previous)  # it may have been there before the history began
    ruling.more(int(gone.sum()) - MAX_FINDINGS)
    for row in np.flatnonzero(gone)[:MAX_FINDINGS]:
        revision = int(log.revision[row])
        ruling.violation(
            f"watchers were told of {change_at(case, int(row))}, but it was not there"
            f" ({key_state(case, int(log.key[row]), int(row))})",
            revisions=[revision],
            certain=revision < case.free_from,
        )
