"""``availability``: nobody who asked was left without any answer for longer than the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.base import Evidence
from tester.history.columns import NONE, OpCol, WaitCol
from tester.history.operations import is_local

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
            for gap in service.gaps(stretch):
                asked = True
                longest = max(longest, gap.length)
                if gap.length > end.gap_limit * 1e9:
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

    def gaps(self, stretch: _Stretch) -> Iterator[_Gap]:
        """Every time between two acknowledgements of a stretch in which somebody waited."""
        low, high = np.searchsorted(self._ends, [stretch.start, stretch.end])
        ends = np.concatenate([[stretch.start], self._ends[low:high], [stretch.end]])
        # Only the long ones are worth a look; the longest alone is told where none is.
        for place in _longest(np.diff(ends)):
            start, end = int(ends[place]), int(ends[place + 1])
            following = int(low + place)
            answered = int(self._answered[following]) if following < high else NONE
            waiting = following < self._ends.size and int(self._first_call[following]) <= start
            asked = int(np.searchsorted(self._calls, start, side="left"))
            if waiting:
                yield _Gap(start, end, NONE, answered)
            elif asked < self._calls.size and int(self._calls[asked]) < end:
                yield _Gap(int(self._calls[asked]), end, int(self._asked[asked]), answered)


def _first_from(calls: Columns) -> Columns:
    return np.minimum.accumulate(calls[::-1])[::-1]


def _longest(lengths: Columns) -> list[int]:
    """Places of the longest of them: a few, in order of time."""
    return sorted(np.argsort(lengths, kind="stable")[-20:].tolist())


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
