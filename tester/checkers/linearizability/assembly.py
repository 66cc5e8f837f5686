"""From a history to calls and a change log: which revisions are known, from whom, and what stays open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.attribution import attribute
from tester.checkers.linearizability.beginnings import ages, tells_all, with_ages
from tester.checkers.linearizability.calls import Calls
from tester.checkers.linearizability.changelog import UNSEEN, WATCHED, ChangeLog
from tester.checkers.linearizability.leaseends import lease_ends
from tester.checkers.linearizability.replay import Replay
from tester.checkers.linearizability.revisions import RevisionIndex
from tester.checkers.linearizability.timeline import Timeline, sightings_of
from tester.history.columns import NONE, Flag, Kind, KvCol, LeafCol, OpCol
from tester.history.operations import puts_of
from tester.history.records import Put
from tester.history.table import NEVER, Columns, Mask
from tester.history.watchlog import WatchLog, merge_watch_log

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.history.records import Invoke


MAX_EARLY = 1000
"""Revisions before the first answer among which unknown writes are looked for."""


class NeedsSearchError(Exception):
    """The log has a gap where an answer alone does not tell what was changed."""


@dataclass(frozen=True, slots=True)
class Evidences:
    """What is known before anything is concluded."""

    history: History
    watch: WatchLog
    calls: Calls
    """Acknowledged operations; revocations still without what they wrote."""
    timeline: Timeline
    base: int
    """Revision before the first answered operation, at most; what is older need not have an author."""
    start: int
    """Revision before anything of this history can have happened, unknown writes included."""
    told: Columns
    """Changes that only their effect tells: see ``_told_rows``."""
    written: Columns
    """Revisions of acknowledged writes, ascending."""
    last: int
    """The newest revision that an answer or the content at the end may show."""
    ages: Columns
    """Of keys that may be older than the history; empty where it tells all that was there: ``beginnings.ages``."""
    unsure: int
    """From where on something unseen may have happened, if there may have been such keys of which it does not tell."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """Everything the rules need."""

    history: History
    watch: WatchLog
    calls: Calls
    replay: Replay
    base: int
    unclaimed: tuple[int, ...]
    """Revisions whose changes nobody asked for."""
    unresolved: tuple[Invoke, ...]
    free_from: int
    """The first revision at which something unseen may have happened; ``NEVER``: the log is complete."""

    @property
    def log(self) -> ChangeLog:
        """All changes."""
        return self.replay.log


def gather(history: History, end: EndState) -> Evidences:
    """Collect the evidence, once for a history and an end state."""
    return history.keep(Evidences, end, lambda: _gather(history, end))


def _gather(history: History, end: EndState) -> Evidences:
    watch = merge_watch_log(history)
    calls = Calls.of(history)
    ops = calls.ops
    shared = np.flatnonzero(ops[OpCol.LOCAL] == 0)
    revision, wrote = ops[OpCol.REV, shared], ops[OpCol.WROTE, shared] > 0
    base = int(np.min(revision - wrote, initial=NEVER))
    if np.any(ops[OpCol.WROTE] == NONE):
        ops = ops.copy()
        ops[OpCol.WROTE, ops[OpCol.WROTE] == NONE] = 0
        calls = replace(calls, ops=ops)
    written = np.sort(revision[wrote], kind="stable")
    read = [member.hash_revision for member in end.members.values() if member.content is not None]
    last = max(int(ops[OpCol.REV].max(initial=0)), *read, 0)
    unsure = NEVER if tells_all(history, watch, calls, base, last) else watch.seen_from(base + 1)
    told = _told_rows(history, calls, end, watch, written, base)
    timeline = Timeline(ops, sightings_of(history, end))
    deadline = int(timeline.deadlines(np.array([base]))[0])
    early = any(invoke.at <= deadline for invoke in history.unknown_writes())
    start = max(1, base - MAX_EARLY) if early else base
    old = ages(calls, history, end) if unsure != NEVER else np.empty((4, 0), dtype=np.int64)
    return Evidences(history, watch, calls, timeline, base, start, told, written, last, old, unsure)


def assemble(evidences: Evidences) -> Assembly:
    """Conclude what every revision changed and who asked for it, once for a collection of evidence.

    Raises:
        NeedsSearchError: what happened cannot be read off, it must be searched.
        TooManyChoicesError: too many unknown operations fit to too many revisions.
    """
    return evidences.history.keep(Assembly, evidences, lambda: _assemble(evidences))


def _assemble(evidences: Evidences) -> Assembly:
    history, watch, base = evidences.history, evidences.watch, evidences.base
    log = _change_log(evidences)
    replay = Replay(history, log)
    calls = _with_revocations(evidences, log)
    ops = calls.ops
    authored = evidences.written
    if calls is not evidences.calls:
        authored = np.sort(ops[OpCol.REV, (ops[OpCol.LOCAL] == 0) & (ops[OpCol.WROTE] > 0)])
    revisions = (
        log.revision[np.append(log.revision[1:] != log.revision[:-1], True)] if log.size else log.revision
    )
    orphans = revisions[~_among(revisions, authored)]
    orphans = orphans[(orphans > base) | watch.covers(orphans)]
    free_from = _first_gap(evidences, revisions, authored) if _may_hide(history, log) else NEVER
    found = attribute(replay, evidences.timeline, orphans, lease_ends(replay, orphans), free_from, base)
    _refuse_half_seen(history, evidences.told, base)
    return Assembly(
        history,
        watch,
        calls.extended(found.resolved.calls()),
        replay,
        base,
        tuple(revision for revision in found.unclaimed if revision > base),
        tuple(found.unresolved),
        NEVER if found.complete else free_from,
    )


def _among(numbers: Columns, ascending: Columns) -> Mask:
    place = RevisionIndex(ascending).at_or_above(numbers)
    found: Mask = np.append(ascending, NEVER)[place] == numbers
    return found


def _answered_rows(evidences: Evidences) -> Columns:
    """What acknowledged operations changed where no watcher tells. Last column: place within the revision."""
    calls, watch = evidences.calls, evidences.watch
    writer = np.flatnonzero((calls.ops[OpCol.LOCAL] == 0) & (calls.ops[OpCol.WROTE] > 0))
    unseen = writer[~watch.covers(calls.ops[OpCol.REV, writer])]
    if not unseen.size:
        return np.empty((7, 0), dtype=np.int64)
    of_unseen = np.zeros(calls.ops.shape[1], dtype=bool)
    of_unseen[unseen] = True
    leaves = calls.leaves
    changed = of_unseen[leaves[LeafCol.OP]] & (
        (leaves[LeafCol.KIND] == Kind.PUT)
        | ((leaves[LeafCol.KIND] == Kind.DELETE) & (leaves[LeafCol.COUNT] > 0))
    )
    chosen = leaves[:, changed]
    if np.any(chosen[LeafCol.END] != NONE):
        raise NeedsSearchError("a range was deleted where the watch log has a gap")
    revision = calls.ops[OpCol.REV, chosen[LeafCol.OP]]
    nothing = np.zeros(revision.size, dtype=np.int64)
    return np.stack(
        [
            revision,
            chosen[LeafCol.KEY],
            chosen[LeafCol.VALUE],
            chosen[LeafCol.LEASE],
            nothing,
            nothing,
            chosen[LeafCol.SLOT],
        ]
    )


def _told_rows(
    history: History, calls: Calls, end: EndState, watch: WatchLog, written: Columns, base: int
) -> Columns:
    """Changes that only their effect tells: keys read at a mod revision that nobody saw or acknowledged."""
    answers = calls.answers
    answers = answers[:, ~watch.covers(answers[KvCol.MOD])]
    # A serializable answer that is wrong is the serializable checker's finding: it is no evidence here.
    shared = calls.ops[OpCol.LOCAL, calls.leaves[LeafCol.OP, answers[KvCol.LEAF]]] == 0
    # What was read of a time before the history need not have been there when it began.
    at = calls.leaves[LeafCol.AT, answers[KvCol.LEAF]]
    shared &= (at == 0) | (at >= base)
    answers = answers[:, shared & ~_among(answers[KvCol.MOD], written)]
    texts, own = history.keys.texts, np.unique(answers[KvCol.KEY]).tolist()
    foreign = [key for key in own if not texts[key].startswith(history.prefix)]
    answers = answers[:, ~np.isin(answers[KvCol.KEY], foreign)] if foreign else answers
    flags = calls.leaves[LeafCol.FLAGS, answers[KvCol.LEAF]]
    value = np.where(flags & Flag.KEYS_ONLY, UNSEEN, answers[KvCol.VALUE])
    columns = [KvCol.MOD, KvCol.KEY, KvCol.LEASE, KvCol.CREATE, KvCol.VERSION]
    mod, key, lease, create, version = answers[columns]
    rows = np.stack([mod, key, value, lease, create, version, np.zeros(mod.size, dtype=np.int64)])
    kept = [
        (kv.m, history.keys.numbers[kv.k], history.values.numbers[kv.v], kv.l, kv.c, kv.ver, 0)
        for member in end.members.values()
        for kv in member.content or ()
    ]
    if kept:
        last = np.array(kept, dtype=np.int64).T
        rows = np.concatenate([rows, last[:, ~watch.covers(last[0]) & ~_among(last[0], written)]], axis=1)
    # One row per key and revision; a value that was seen is better than none.
    rows = rows[:, np.lexsort((-rows[2], rows[1], rows[0]))]
    first = np.ones(rows.shape[1], dtype=bool)
    first[1:] = (rows[0, 1:] != rows[0, :-1]) | (rows[1, 1:] != rows[1, :-1])
    rows = rows[:, first]
    rows[4:6, rows[0] > base] = 0  # what the log says of those must follow from it
    return rows


def _change_log(evidences: Evidences) -> ChangeLog:
    rows = _rows(evidences.watch, _answered_rows(evidences), evidences.told)
    log = ChangeLog(rows, evidences.base, evidences.unsure)
    if not log.ageless.any():
        return log
    known = np.union1d(log.revision, evidences.written) if _may_hide(evidences.history, log) else None
    rows, guessed = with_ages(log, rows, evidences.ages, evidences.base, known)
    return ChangeLog(rows, evidences.base, evidences.unsure, guessed)


def _may_hide(history: History, log: ChangeLog) -> bool:
    """Whether anything of the load may have happened that nobody tells of."""
    return bool(log.lease.any()) or any(True for _ in history.unknown_writes())


def _rows(watch: WatchLog, answered: Columns, told: Columns) -> Columns:
    seen = watch.events[WATCHED]
    if not answered.shape[1] and not told.shape[1]:
        return seen
    places = np.arange(seen.shape[1])
    rows = np.concatenate([np.concatenate([seen, places[None]]), answered, told], axis=1)
    return rows[:6, np.lexsort((rows[6], rows[0]))]


def _with_revocations(evidences: Evidences, log: ChangeLog) -> Calls:
    """Acknowledged revocations with what they deleted: the changes at their revision, if they fit."""
    calls, watch = evidences.calls, evidences.watch
    rows = np.flatnonzero(calls.ops[OpCol.KIND] == Kind.REVOKE)
    if not rows.size:
        return calls
    ops = calls.ops.copy()
    deadlines = evidences.timeline.deadlines(ops[OpCol.REV, rows])
    taken = set(evidences.written[_among(evidences.written, np.sort(ops[OpCol.REV, rows]))].tolist())
    for row, deadline in zip(rows.tolist(), deadlines.tolist(), strict=True):
        revision = ops[OpCol.REV, row : row + 1]
        lease = calls.leaves[LeafCol.LEASE, ops[OpCol.LEAF, row]]
        if int(revision[0]) in taken or ops[OpCol.CALL, row] > deadline:
            continue
        if not watch.covers(revision)[0] and np.any(log.lease == lease):
            raise NeedsSearchError("a lease was revoked where the watch log has a gap")
        low, high = int(log.before(revision)[0]), int(log.after(revision)[0])
        before = log.previous[low:high]
        own = (log.value[low:high] == NONE) & (before != NONE) & (log.lease[np.maximum(before, 0)] == lease)
        own |= (log.value[low:high] == NONE) & log.is_open(log.key[low:high], before)
        if high > low and own.all():
            ops[OpCol.WROTE, row] = high - low
            taken.add(int(revision[0]))
    return replace(calls, ops=ops)


def _refuse_half_seen(history: History, told: Columns, base: int) -> None:
    """What was read of a revision in a gap need not be all that it changed, or tell whose it was."""
    later = told[:, told[0] > base]
    seen = {(int(key), int(value)) for key, value in later[1:3].T}
    if UNSEEN in later[2]:
        raise NeedsSearchError("a key was read without its value where the watch log has a gap")
    find_key, find_value = history.keys.find, history.values.find
    for invoke in history.unknown_writes():
        if isinstance(invoke.op, Put):
            continue
        if any((find_key(put.k), find_value(put.v)) in seen for put in puts_of(invoke.op)):
            raise NeedsSearchError("an unknown transaction was seen in part where the watch log has a gap")


def _first_gap(evidences: Evidences, revisions: Columns, authored: Columns) -> int:
    """The first revision that neither a watcher nor an answer tells about; ``NEVER``: there is none."""
    at = evidences.start + 1
    # A watcher, too, may show what came of something unseen.
    last = max(evidences.last, int(revisions[-1]) if revisions.size else 0)
    for first, after in (*evidences.watch.spans, (NEVER, NEVER)):
        stop = min(first - 1, last)
        if at <= stop:
            inside = np.union1d(_between(revisions, at, stop), _between(authored, at, stop))
            expected = np.arange(at, at + inside.size)
            missing = np.flatnonzero(inside != expected)
            gap = int(expected[missing[0]]) if missing.size else at + inside.size
            if gap <= stop:
                return gap
        at = max(at, after + 1)
    return NEVER


def _between(ascending: Columns, first: int, last: int) -> Columns:
    low, high = np.searchsorted(ascending, [first, last + 1])
    return ascending[low:high]
