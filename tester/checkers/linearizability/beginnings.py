"""What was there before the history began: whether the history tells all of it, and how old its keys are.

Where it does not, a key without a change in the log may have been there, and counts of keys are lower bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import NONE, Flag, Kind, KvCol, LeafCol, OpCol
from tester.history.keyranges import holds_prefix

if TYPE_CHECKING:
    from tester.checkers.linearizability.calls import Calls
    from tester.checkers.linearizability.changelog import ChangeLog
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.history.table import Columns
    from tester.history.watchlog import WatchLog


def tells_all(history: History, watch: WatchLog, calls: Calls, base: int, last: int) -> bool:
    """Whether watchers saw everything up to ``base``, or somebody read all that was there then."""
    if watch.covers_span(2, min(base, last)):
        return True
    leaves, ops = calls.leaves, calls.ops
    owner = leaves[LeafCol.OP]
    whole = (leaves[LeafCol.KIND] == Kind.RANGE) & (leaves[LeafCol.END] != NONE)
    whole &= (leaves[LeafCol.FLAGS] & (Flag.MORE | Flag.COUNT_ONLY)) == 0
    whole &= (ops[OpCol.LOCAL, owner] == 0) & (ops[OpCol.REV, owner] == base)
    whole &= (leaves[LeafCol.AT] == 0) | (leaves[LeafCol.AT] == base)
    spans = np.unique(leaves[[LeafCol.KEY, LeafCol.END]][:, whole], axis=1)
    texts = history.keys.texts
    return any(holds_prefix(history.prefix, texts[key], texts[end]) for key, end in spans.T.tolist())


def ages(calls: Calls, history: History, end: EndState) -> Columns:
    """Key, mod revision, create revision and version, as linearizable answers and the content at the end tell them."""
    answers = calls.answers
    shared = calls.ops[OpCol.LOCAL, calls.leaves[LeafCol.OP, answers[KvCol.LEAF]]] == 0
    told = answers[[KvCol.KEY, KvCol.MOD, KvCol.CREATE, KvCol.VERSION]][:, shared]
    numbers = history.keys.numbers
    kept = [
        (numbers[kv.k], kv.m, kv.c, kv.ver) for member in end.members.values() for kv in member.content or ()
    ]
    return np.concatenate([told, np.array(kept, dtype=np.int64).reshape(-1, 4).T], axis=1)


def with_ages(
    log: ChangeLog, rows: Columns, told: Columns, base: int, known: Columns | None
) -> tuple[Columns, Columns]:
    """The rows of a log whose keys got their first change from somebody who was told no version of it.

    An answer that shows the key tells whether it was there before, and since when; of several the one that shows its
    first changes: the version in others counts what was changed unseen in between. Returns the rows, and which of them
    have an age that is a guess for that reason: ``known`` are the revisions of which it is known what they changed,
    ascending; ``None``: of all.
    """
    key, mod, create, version = told[:, np.argsort(told[1], kind="stable")]
    row = log.row_at(key, log.after(mod))
    shown = np.flatnonzero(log.is_live(row))
    shown = shown[log.ageless[row[shown]] & (log.revision[row[shown]] == mod[shown])]
    row, key, mod, create, version = row[shown], key[shown], mod[shown], create[shown], version[shown]
    first = log.row_at(key, log.after(log.create[row]))
    since = version - log.version[row] + 1
    fits = np.flatnonzero(((create <= base) & (since > 1)) | ((create == log.revision[first]) & (since == 1)))
    fits = fits[np.unique(first[fits], return_index=True)[1]]
    first, mod = first[fits], mod[fits]
    rows = rows.copy()
    rows[4, first], rows[5, first] = create[fits], since[fits]
    if known is None:
        return rows, first[:0]
    between = np.searchsorted(known, mod) - np.searchsorted(known, log.revision[first])
    return rows, first[between < mod - log.revision[first]]
