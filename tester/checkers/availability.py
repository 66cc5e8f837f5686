"""``availability``: nobody who asked was left without any answer for longer than the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.base import MAX_FINDINGS, Evidence
from tester.history.columns import NONE, OpCol, WaitCol
from tester.history.operations import is_local
from tester.history.table import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.history.table import Columns
    from tester.results import CheckResult

_UNDER_LOAD = frozenset({"steady", "inject", "hold", "recover", "settle"})


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time under load; in nanoseconds."""

    case: str
    start: int
    end: int


class Availability:
    """Looks for times in which no member acknowledged anything, although somebody asked."""

    name = "availability"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for a gap over the limit; unknown without a limit, or where nobody asked."""
        evidence = Evidence(self.name)
        if end.gap_limit is None:
            evidence.nothing("no limit is known: limits.gap in the scenario says how long a gap may be")
            return evidence.result("")
        service = _Service(history)
        longest = 0
        asked = False
        for stretch in _stretches(history, end):
            gaps = service.gaps(stretch)
            asked = asked or gaps.any()
            longest = max(longest, gaps.longest())
            over = gaps.over(int(end.gap_limit * 1e9))
            evidence.more(len(over) - MAX_FINDINGS)
            for gap in over[:MAX_FINDINGS]:
                _tell(evidence, history, stretch, gap, end.gap_limit)
        if not asked:
            evidence.doubt("nobody asked for anything under load")
        return evidence.result(
            f"the longest time without any acknowledged operation was {longest / 1e9:.3f} s"
            f" (limit {end.gap_limit:g} s)"
        )


def _stretches(history: History, end: EndState) -> Iterator[_Stretch]:
    """From the beginning of a case until its load is paused for the check; without phases, all the time."""
    begun: _Stretch | None = None
    for phase in history.phases:
        if phase.phase in _UNDER_LOAD:
            begun = begun or _Stretch(phase.case, phase.at, phase.at)
        elif begun is not None:
            yield _Stretch(begun.case, begun.start, phase.at)
            begun = None
    if begun is not None:
        yield _Stretch(begun.case, begun.start, end.at)
    elif not history.phases:
        yield _Stretch("", 0, end.at)


@dataclass(frozen=True, slots=True)
class _Gap:
    start: int
    """When somebody first waited for an answer."""
    end: int
    asked: int
    """Who that was; ``NONE``: an operation whose outcome is not known."""
    answered: int
    """The first operation that was acknowledged after; ``NONE``: none was, under load."""

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Those of a stretch, in order of time."""

    columns: Columns
    """The fields of ``_Gap``."""

    def any(self) -> bool:
        """Whether anybody asked."""
        return bool(self.columns.shape[1])

    def longest(self) -> int:
        """Nanoseconds."""
        return int(np.max(self.columns[1] - self.columns[0], initial=0))

    def over(self, limit: int) -> list[_Gap]:
        """Those longer than that."""
        long = self.columns[:, self.columns[1] - self.columns[0] > limit]
        return [_Gap(*row) for row in long.T.tolist()]


class _Service:
    """When operations were asked for and acknowledged. Answers from a member's own state do not count."""

    def __init__(self, history: History) -> None:
        ops = history.operations.rows.columns
        shared = ops[:, ops[OpCol.LOCAL] == 0]
        by_end = shared[:, np.argsort(shared[OpCol.RET], kind="stable")]
        self._ends, self._answered = by_end[OpCol.RET], by_end[OpCol.ID]
        # The last to be called of those that are answered from each place on is no help; the first is.
        self._first_call = _first_from(by_end[OpCol.CALL])
        # In flight and unknown writes are told together; what is told twice does no harm.
        invokes = [*history.unknown_writes(), *history.failed_writes.values()]
        invokes += [invoke for invoke in history.unfinished() if not is_local(invoke.op)]
        unanswered = history.unanswered.columns
        calls = np.concatenate(
            [shared[OpCol.CALL], unanswered[WaitCol.CALL], np.array([i.at for i in invokes], dtype=np.int64)]
        )
        ids = np.concatenate(
            [shared[OpCol.ID], unanswered[WaitCol.ID], np.array([i.id for i in invokes], dtype=np.int64)]
        )
        order = np.argsort(calls, kind="stable")
        self._calls, self._asked = calls[order], ids[order]

    def gaps(self, stretch: _Stretch) -> _Gaps:
        """Every time between two acknowledgements of a stretch in which somebody waited."""
        low, high = np.searchsorted(self._ends, [stretch.start, stretch.end])
        ends = np.concatenate([[stretch.start], self._ends[low:high], [stretch.end]])
        start, end = ends[:-1], ends[1:]
        following = np.arange(low, high + 1)
        answered = np.append(self._answered[low:high], NONE)
        place = np.searchsorted(self._calls, start, side="left")
        first, asked = np.append(self._calls, NEVER)[place], np.append(self._asked, NONE)[place]
        waiting = np.append(self._first_call, NEVER)[following] <= start
        first, asked = np.where(waiting, start, first), np.where(waiting, NONE, asked)
        return _Gaps(np.stack([first, end, asked, answered])[:, first < end])


def _first_from(calls: Columns) -> Columns:
    return np.minimum.accumulate(calls[::-1])[::-1]


def _tell(evidence: Evidence, history: History, stretch: _Stretch, gap: _Gap, limit: float) -> None:
    faults = _faults_during(history, gap)
    case = f"case {stretch.case}: " if stretch.case else ""
    first = f"; the first to wait: {history.describe(gap.asked)}" if gap.asked != NONE else ""
    until = history.describe(gap.answered) if gap.answered != NONE else "the end of the load"
    evidence.violation(
        f"{case}no member acknowledged anything for {gap.length / 1e9:.3f} s (limit {limit:g} s), from"
        f" {gap.start / 1e9:.3f} s to {gap.end / 1e9:.3f} s{faults}{first}; it ended with {until}",
        operations=[one for one in (gap.asked, gap.answered) if one != NONE],
    )


def _faults_during(history: History, gap: _Gap) -> str:
    on: dict[tuple[str, str], str] = {}
    told: list[str] = []
    for fault in history.faults:
        if fault.at > gap.end:
            break
        if fault.state == "injected":
            on[fault.id, fault.member] = f"{fault.kind} on {fault.member}"
        elif (what := on.pop((fault.id, fault.member), None)) and fault.at >= gap.start:
            told.append(what)
    told += on.values()
    return f", with {', '.join(dict.fromkeys(told))}" if told else ", without any fault"
