"""Checkers over a history in which a cluster was lost and restored: each is shown what it can judge.

A checker knows of one cluster. Revisions of two clusters in one history would contradict each other, so that those who
read revisions get the epochs one by one (``tester.history.epochs``), and their verdicts are one.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from tester.checkers.base import MAX_FINDINGS, run
from tester.history.endstate import EndState
from tester.history.epochs import epoch_at, views_of
from tester.results import CheckResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tester.checkers.base import Checker
    from tester.history.history import History
    from tester.history.records import HistoryRecord


class Over(Enum):
    """What of a history with several epochs a checker judges."""

    EACH = auto()
    """Every epoch by itself."""
    LAST = auto()
    """The epoch that the end state is of: it holds what the others left to it."""
    LOST = auto()
    """Those that have ended."""
    WHOLE = auto()
    """All of it at once: it reads no revisions."""


OVER: Final[Mapping[str, Over]] = {
    "kv-hash": Over.WHOLE,
    "durability": Over.LAST,
    "recovery": Over.WHOLE,
    "exits": Over.WHOLE,
    "linearizable": Over.EACH,
    "serializable": Over.EACH,
    "watch": Over.EACH,
    "leases": Over.EACH,
    "locks": Over.EACH,
    "elections": Over.EACH,
    "progress": Over.WHOLE,
    "availability": Over.WHOLE,
    "logs": Over.WHOLE,
    "alarms": Over.WHOLE,
    "restore": Over.LOST,
}


def run_over(
    checkers: Mapping[str, Checker],
    names: Iterable[str],
    history: History,
    end: EndState,
    records: Callable[[], Iterable[HistoryRecord]] | None = None,
) -> tuple[CheckResult, ...]:
    """Run the named checkers, each over the epochs that it judges.

    ``records`` reads the history anew; without it nobody judges epochs.
    """
    ended = epoch_at(history, end.at)
    if not history.epochs:
        return run(checkers, names, history, end)
    views = views_of(history, records)[: ended + 1] if records is not None else ()
    return tuple(_over(checkers, str(name), history, end, views) for name in names)


def _over(
    checkers: Mapping[str, Checker], name: str, history: History, end: EndState, views: Sequence[History]
) -> CheckResult:
    over = OVER[name]
    if over is Over.WHOLE:
        return run(checkers, [name], history, end)[0]
    if not views:
        return CheckResult(name, Verdict.UNKNOWN, "the records of the history cannot be read epoch by epoch")
    last = len(views) - 1
    wanted = {Over.EACH: range(last + 1), Over.LAST: range(last, last + 1), Over.LOST: range(last)}[over]
    if not wanted:  # asked about a time before the first disaster
        wanted = range(1)
    results = {
        number + 1: run(checkers, [name], views[number], end if number == last else _nobody(views[number]))[0]
        for number in wanted
    }
    return _merged(name, results)


def _nobody(view: History) -> EndState:
    """Of a cluster that was lost no member tells anything."""
    return EndState(at=view.epochs[0].at, members={})


def _merged(name: str, results: Mapping[int, CheckResult]) -> CheckResult:
    if len(results) == 1:
        return next(iter(results.values()))
    verdict = Verdict.worst(*(result.verdict for result in results.values()))
    messages = (f"epoch {n}: {r.message}" for n, r in results.items() if r.verdict is verdict)
    worst = [result for result in results.values() if result.verdict is verdict]
    told = "\n".join(dict.fromkeys(result.explanation for result in worst if result.explanation))
    findings = [
        replace(finding, message=f"epoch {number}: {finding.message}")
        for number, result in results.items()
        for finding in result.findings
    ]
    return CheckResult(
        name,
        verdict,
        "; ".join(messages),
        tuple(findings[:MAX_FINDINGS]),
        sum(result.findings_total for result in results.values()),
        sum(result.elapsed_seconds for result in results.values()),
        kinds=tuple(sorted({kind for result in worst for kind in result.kinds})),
        known=worst[0].known if all(result.known for result in worst) else "",
        explanation=told,
        nothing_to_judge=all(result.nothing_to_judge for result in results.values()),
    )
