"""Rules about revisions that etcd says it has not: those of the future, and those that were compacted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS
from tester.checkers.linearizability.timeline import Sightings
from tester.checkers.watched import compactions
from tester.history.columns import Kind, LeafCol, OpCol, RefusalCol
from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.checkers.linearizability.assembly import Evidences
    from tester.checkers.linearizability.ruling import Ruling


def judge_refusals(case: Evidences, ruling: Ruling) -> None:
    """A revision is refused if it is not there yet, or was compacted; and then it is refused."""
    _judge_future(case, ruling)
    _judge_compacted(case, ruling)
    _judge_answered(case, ruling)


def _judge_future(case: Evidences, ruling: Ruling) -> None:
    """Whoever asks after a revision was shown is not told that it is of the future; a member that lags may say so."""
    ops, refused = case.calls.ops, case.history.revision_refusals.columns
    refused = refused[:, (refused[RefusalCol.FUTURE] == 1) & (refused[RefusalCol.LOCAL] == 0)]
    if not refused.shape[1]:
        return
    shared = np.flatnonzero(ops[OpCol.LOCAL] == 0)
    answers = Sightings.of("an answer had", ops[OpCol.REV, shared], ops[OpCol.RET, shared])
    seen = np.full(refused.shape[1], NEVER)
    for sightings in (answers, *case.timeline.sightings):
        seen = np.minimum(seen, sightings.before(refused[RefusalCol.AT]))
    wrong = np.flatnonzero(seen < refused[RefusalCol.CALL])
    for row in wrong[:MAX_FINDINGS]:
        asked = int(refused[RefusalCol.AT, row])
        newer = shared[(ops[OpCol.RET, shared] == seen[row]) & (ops[OpCol.REV, shared] >= asked)]
        shown = ops[OpCol.ID, newer[:1]].tolist()
        by = f": {case.history.describe(shown[0])}" if shown else ""
        ruling.violation(
            f"{case.history.describe(int(refused[RefusalCol.ID, row]))}; but revision {asked} was there at"
            f" {seen[row] / 1e9:.6f} s{by}",
            operations=[int(refused[RefusalCol.ID, row]), *shown],
            revisions=[asked],
        )
    ruling.more(wrong.size - MAX_FINDINGS)


def _judge_compacted(case: Evidences, ruling: Ruling) -> None:
    """Somebody has asked for the compaction: in the history, or before it of what is older."""
    known = compactions(case.history)
    if known is None:
        return
    refused = case.history.revision_refusals.columns
    refused = refused[:, refused[RefusalCol.FUTURE] == 0]
    asked = refused[RefusalCol.AT]
    # A range may be at the compacted revision itself; who compacts may not.
    least = np.where(refused[RefusalCol.KIND] == Kind.COMPACT, asked, asked + 1)
    revisions, called = np.array(sorted(known), dtype=np.int64).reshape(-1, 2).T
    requests = Sightings.of("somebody asked for", revisions, called)
    wrong = np.flatnonzero((requests.before(least) > refused[RefusalCol.RET]) & (least > case.base))
    for row in wrong[:MAX_FINDINGS]:
        operation = int(refused[RefusalCol.ID, row])
        ruling.violation(
            f"{case.history.describe(operation)}; but nobody had asked to compact revision {least[row]} or later",
            operations=[operation],
            revisions=[int(asked[row])],
        )
    ruling.more(wrong.size - MAX_FINDINGS)


def _judge_answered(case: Evidences, ruling: Ruling) -> None:
    """What an acknowledged compaction has taken away is read by nobody who asks later."""
    ops, leaves = case.calls.ops, case.calls.leaves
    done = leaves[:, leaves[LeafCol.KIND] == Kind.COMPACT]
    reads = leaves[:, (leaves[LeafCol.KIND] == Kind.RANGE) & (leaves[LeafCol.AT] > 0)]
    reads = reads[:, ops[OpCol.LOCAL, reads[LeafCol.OP]] == 0]
    if not done.shape[1] or not reads.shape[1]:
        return
    compactors = done[LeafCol.OP]
    gone = Sightings.of("was compacted", done[LeafCol.AT], ops[OpCol.RET, compactors])
    wrong = np.flatnonzero(gone.before(reads[LeafCol.AT] + 1) < ops[OpCol.CALL, reads[LeafCol.OP]])
    for row in wrong[:MAX_FINDINGS]:
        read, asked = int(reads[LeafCol.OP, row]), int(reads[LeafCol.AT, row])
        later = compactors[done[LeafCol.AT] > asked]
        ids = [int(ops[OpCol.ID, read]), int(ops[OpCol.ID, later[np.argmin(ops[OpCol.RET, later])]])]
        ruling.violation(
            f"{case.history.describe(ids[0])}; it answered of revision {asked}, which had been compacted:"
            f" {case.history.describe(ids[1])}",
            operations=ids,
            revisions=[asked],
        )
    ruling.more(wrong.size - MAX_FINDINGS)
