"""``linearizable``: the operations have one order that respects real time and explains every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.base import Evidence
from tester.checkers.linearizability.assembly import Assembly, Evidences, NeedsSearchError, assemble, gather
from tester.checkers.linearizability.attribution import TooManyChoicesError
from tester.checkers.linearizability.compares import judge_compares
from tester.checkers.linearizability.reads import judge_content, judge_reads
from tester.checkers.linearizability.refusals import judge_refusals
from tester.checkers.linearizability.registers import judge_registers
from tester.checkers.linearizability.ruling import Ruling
from tester.checkers.linearizability.search import Outcome, Search
from tester.checkers.linearizability.writes import (
    judge_authors,
    judge_changes,
    judge_deletions,
    judge_log,
    judge_order,
)
from tester.history.columns import OpCol
from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult


class Linearizable:
    """The whole KV interface by revision order."""

    name = "linearizable"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for a contradiction; unknown where a gap in the log leaves one open."""
        evidence = Evidence(self.name)
        ops = history.operations.rows.columns
        if not np.any(ops[OpCol.LOCAL] == 0):
            evidence.doubt("no linearizable operation was answered")
            return evidence.result("")
        if not ops[OpCol.REV].any():
            return judge_registers(history)
        evidences = gather(history, end)
        ruling = Ruling()
        judge_order(evidences, ruling)
        judge_refusals(evidences, ruling)
        if ruling.certain.violations:
            return ruling.certain.result("")
        try:
            case = assemble(evidences)
        except TooManyChoicesError as reason:
            evidence.doubt(str(reason))
            return evidence.result("")
        except NeedsSearchError as reason:
            return _search(evidences, end, f"{reason}")
        rule(case, ruling, end)
        if ruling.certain.violations:
            return ruling.certain.result("")
        if ruling.open.violations:
            return _search(evidences, end, ruling.open.violations[0].message)
        return evidence.result(_summary(case))


def rule(case: Assembly, ruling: Ruling, end: EndState) -> None:
    """Apply every rule to what was assembled."""
    judge_authors(case, ruling)
    judge_changes(case, ruling)
    judge_log(case, ruling)
    judge_deletions(case, ruling)
    judge_compares(case, ruling)
    judge_reads(case, ruling)
    judge_content(case, ruling, end)


def _search(evidences: Evidences, end: EndState, reason: str) -> CheckResult:
    evidence = Evidence("linearizable")
    answer = Search(evidences, end).run()
    gap = f"the {evidences.watch.describe()} has a gap"
    if answer.outcome is Outcome.GAVE_UP:
        evidence.doubt(f"{gap}, and too much fits into it to decide: {reason}")
    elif answer.outcome is Outcome.IMPOSSIBLE:
        operations = () if answer.operation is None else (answer.operation,)
        what = evidences.history.describe(answer.operation) if answer.operation is not None else reason
        evidence.violation(
            f"no choice of what happened unseen explains revision {answer.revision}: {what}",
            operations=operations,
            revisions=[answer.revision],
        )
    number = evidences.calls.ops.shape[1]
    return evidence.result(
        f"an order of {number} operations explains every answer; {gap}, it was found by search"
    )


def _summary(case: Assembly) -> str:
    calls = case.calls
    resolved = calls.ops.shape[1] - calls.acknowledged
    gap = "" if case.free_from == NEVER else f", with a gap from revision {case.free_from}"
    return (
        f"{calls.acknowledged} operations in order of revision explain every answer;"
        f" {resolved} unknown outcomes were settled, {len(case.unresolved)} left no trace"
        f" ({case.watch.describe()}{gap})"
    )
