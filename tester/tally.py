"""What a run adds up to while it goes on: as much memory for ten thousand rounds as for ten."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from tester.errors import ExitCode
from tester.results import CaseState, RoundResult, Verdict

KEPT: Final = 100
"""Rounds whose results are kept in full: the last ones. The others are in their round's directory."""


class Tally:
    """Adds up the results of rounds."""

    def __init__(self) -> None:
        self._recent: deque[RoundResult] = deque(maxlen=KEPT)
        self._rounds = 0
        self._cases: Counter[CaseState] = Counter()
        self._code = ExitCode.VALID
        self._reason = ""

    def add(self, result: RoundResult) -> None:
        """One more round."""
        self._recent.append(result)
        self._rounds += 1
        self._cases.update(case.state for case in result.cases)
        self._code = ExitCode.worst(self._code, result.exit_code)
        self._reason = self._reason or _problem(result)

    @property
    def recent(self) -> tuple[RoundResult, ...]:
        """The last rounds, oldest first."""
        return tuple(self._recent)

    @property
    def rounds(self) -> int:
        """How many there were."""
        return self._rounds

    @property
    def cases(self) -> dict[CaseState, int]:
        """How many cases ended in each state; none that is 0."""
        return dict(self._cases)

    @property
    def code(self) -> ExitCode:
        """The worst of all."""
        return self._code

    @property
    def reason(self) -> str:
        """The first thing that made a round anything but valid; empty if nothing did."""
        return self._reason


def _problem(result: RoundResult) -> str:
    for case in result.cases:
        if case.state not in {CaseState.PASSED, CaseState.SKIPPED}:
            return f"round {result.number}, case {case.name}: {case.reason}"
    if result.error is not None:
        return f"round {result.number}: {result.error}"
    for check in result.checks:
        if check.verdict is not Verdict.VALID:
            known = f" (known: {check.known})" if check.known else ""
            return f"round {result.number}: {check.checker}: {check.message}{known}"
    return ""
