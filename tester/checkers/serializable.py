"""``serializable``: answers from a member's own state are past states, and never an older one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.base import MAX_FINDINGS, Evidence
from tester.checkers.linearizability.assembly import NeedsSearchError, assemble, gather
from tester.checkers.linearizability.attribution import TooManyChoicesError
from tester.checkers.linearizability.compares import judge_compares
from tester.checkers.linearizability.reads import judge_reads
from tester.checkers.linearizability.ruling import Ruling
from tester.checkers.restarts import restarts
from tester.history.columns import Kind, OpCol

if TYPE_CHECKING:
    from tester.checkers.linearizability.assembly import Assembly
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.history.table import Columns, Mask
    from tester.results import CheckResult


class Serializable:
    """Serializable ranges, and transactions of nothing else."""

    name = "serializable"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for an answer that is no past state; unknown where the log of changes has a gap."""
        ops = history.operations.rows.columns
        judged = _judged(ops)
        evidence = Evidence(self.name)
        ruling = Ruling(evidence, Evidence(self.name))
        _judge_members(history, judged, ruling)
        if not judged.size:
            evidence.nothing("no serializable read was answered")
            return evidence.result("")
        try:
            case = assemble(gather(history, end))
        except (NeedsSearchError, TooManyChoicesError) as reason:
            evidence.doubt(f"the state is not known at every revision: {reason}")
            return evidence.result("")
        _judge_future(case, judged, ruling)
        judge_reads(case, ruling, local=True)
        judge_compares(case, ruling, local=True)
        if ruling.open.violations:
            evidence.doubt(
                f"the {case.watch.describe()} has a gap; perhaps {ruling.open.violations[0].message}"
            )
        return evidence.result(
            f"{judged.size} serializable answers are past states ({case.watch.describe()})"
        )


def _of_leases(ops: Columns) -> Mask:
    """What the lessor answered: no read of the store, and its header may be of any moment of the call."""
    return np.isin(ops[OpCol.KIND], (Kind.KEEPALIVE, Kind.TTL))


def _judged(ops: Columns) -> Columns:
    return np.flatnonzero((ops[OpCol.LOCAL] == 1) & ~_of_leases(ops))


def _judge_members(history: History, judged: Columns, ruling: Ruling) -> None:
    """What a member has answered with once, it does not forget while it runs."""
    ops = history.operations.rows.columns
    usable = ~_of_leases(ops)
    for member, name in enumerate(history.members.texts):
        begin, end = restarts(history, name)
        life = np.searchsorted(end, ops[OpCol.CALL], side="left")
        # What goes on while the member may be started anew proves nothing.
        whole = life == np.searchsorted(begin, ops[OpCol.RET], side="right")
        mine = np.flatnonzero(usable & whole & (ops[OpCol.MEMBER] == member))
        reads = judged[np.isin(judged, mine)]
        for number in np.unique(life[reads]):
            _judge_life(history, mine[life[mine] == number], reads[life[reads] == number], ruling)


def _judge_life(history: History, answered: Columns, reads: Columns, ruling: Ruling) -> None:
    ops = history.operations.rows.columns
    answered = answered[np.argsort(ops[OpCol.RET, answered], kind="stable")]
    newest = np.maximum.accumulate(ops[OpCol.REV, answered])
    before = np.searchsorted(ops[OpCol.RET, answered], ops[OpCol.CALL, reads], side="left") - 1
    backwards = (before >= 0) & (newest[np.maximum(before, 0)] > ops[OpCol.REV, reads])
    ruling.more(int(backwards.sum()) - MAX_FINDINGS)
    for place in np.flatnonzero(backwards)[:MAX_FINDINGS]:
        upto = ops[OpCol.REV, answered[: before[place] + 1]]
        read, earlier = int(reads[place]), int(answered[int(np.argmax(upto))])
        ids = [int(ops[OpCol.ID, read]), int(ops[OpCol.ID, earlier])]
        ruling.violation(
            f"{history.describe(ids[0])}; the same member had shown a later state before:"
            f" {history.describe(ids[1])}",
            operations=ids,
            members=[history.members.texts[ops[OpCol.MEMBER, read]]],
        )


def _judge_future(case: Assembly, judged: Columns, ruling: Ruling) -> None:
    """Nobody sees a revision before the call that made it."""
    ops = case.calls.ops
    writers = np.flatnonzero((ops[OpCol.WROTE] > 0) & (ops[OpCol.LOCAL] == 0))
    writers = writers[np.argsort(ops[OpCol.REV, writers], kind="stable")]
    if not writers.size:
        return
    latest_call = np.maximum.accumulate(ops[OpCol.CALL, writers])
    upto = np.searchsorted(ops[OpCol.REV, writers], ops[OpCol.REV, judged], side="right") - 1
    future = (upto >= 0) & (latest_call[np.maximum(upto, 0)] > ops[OpCol.RET, judged])
    ruling.more(int(future.sum()) - MAX_FINDINGS)
    for place in np.flatnonzero(future)[:MAX_FINDINGS]:
        operation = int(ops[OpCol.ID, judged[place]])
        culprit = writers[int(np.argmax(ops[OpCol.CALL, writers[: upto[place] + 1]]))]
        ruling.violation(
            f"{case.history.describe(operation)}; it shows what was only asked for later:"
            f" {case.history.describe(int(ops[OpCol.ID, culprit]))}",
            operations=[operation, int(ops[OpCol.ID, culprit])],
        )
