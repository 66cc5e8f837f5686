"""What a checker is, and how several are run.

A checker is a pure function from a history and an end state to a verdict. It must not talk to anything,
change the history, or say ``valid`` where it lacks evidence.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from tester.checkers.explanations import with_explanation
from tester.checkers.known import explained
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tester.history.endstate import EndState
    from tester.history.history import History

MAX_FINDINGS = 10
"""Findings kept in a result; all are counted."""


class Checker(Protocol):
    """Judges one property."""

    @property
    def name(self) -> str:
        """As scenarios name it."""

    @property
    def scope(self) -> Literal["case", "round"]:
        """Whether it is run after every case, or once per round."""

    def check(self, history: History, end: EndState) -> CheckResult:
        """The verdict. May raise: ``run_checkers`` turns that into ``unknown``."""


@dataclass(slots=True)
class Evidence:
    """Collects what a checker finds, and forms its result."""

    checker: str
    violations: list[Finding] = field(default_factory=list)
    violations_total: int = 0
    kinds: set[str] = field(default_factory=set)
    """Of all violations."""
    doubts: list[str] = field(default_factory=list)
    """Why the checker cannot say ``valid`` although it found no violation."""
    empty: bool = False
    """Whether nothing of the checker's kind is there to judge."""

    def violation(
        self,
        message: str,
        *,
        operations: Iterable[int] = (),
        revisions: Iterable[int] = (),
        members: Iterable[str] = (),
        kind: str = "",
    ) -> None:
        """Something that a correct cluster never does; ``kind`` where there are several."""
        self.violations_total += 1
        if kind:
            self.kinds.add(kind)
        if len(self.violations) < MAX_FINDINGS:
            # numpy's integers would not survive the way into JSON
            ids, revs = tuple(int(i) for i in operations), tuple(int(r) for r in revisions)
            self.violations.append(Finding(message, ids, revs, tuple(members)))

    def more(self, number: int) -> None:
        """Count violations of the kind just told that are not worth a message each; none if not positive."""
        self.violations_total += max(0, number)

    def doubt(self, reason: str) -> None:
        """Something that could not be judged."""
        if reason not in self.doubts:
            self.doubts.append(reason)

    def nothing(self, reason: str) -> None:
        """As ``doubt``, where the history or the end state has nothing of what is judged."""
        self.empty = True
        self.doubt(reason)

    def result(self, valid: str) -> CheckResult:
        """The verdict; ``valid`` says what was shown if nothing speaks against it."""
        if self.violations:
            more = f" (and {self.violations_total - 1} more)" if self.violations_total > 1 else ""
            verdict, message = Verdict.INVALID, self.violations[0].message + more
        elif self.doubts:
            more = f" (and {len(self.doubts) - 1} more doubts)" if len(self.doubts) > 1 else ""
            verdict, message = Verdict.UNKNOWN, self.doubts[0] + more
        else:
            verdict, message = Verdict.VALID, valid
        return CheckResult(
            self.checker,
            verdict,
            message,
            tuple(self.violations),
            self.violations_total,
            kinds=tuple(sorted(self.kinds)),
            nothing_to_judge=self.empty and verdict is Verdict.UNKNOWN,
        )


def run(
    checkers: Mapping[str, Checker], names: Iterable[str], history: History, end: EndState
) -> tuple[CheckResult, ...]:
    """Run the named checkers one after the other; one that crashes says ``unknown`` and why."""
    versions = history.header.versions if history.header is not None else ()
    results = (_run_one(checkers, str(name), history, end) for name in names)
    return tuple(with_explanation(explained(result, versions)) for result in results)


def _run_one(checkers: Mapping[str, Checker], name: str, history: History, end: EndState) -> CheckResult:
    started = time.perf_counter()
    try:
        result = checkers[name].check(history, end)
    except Exception as error:  # noqa: BLE001 - a defect of a checker is no verdict on etcd
        cause = traceback.format_exception_only(error)[-1].strip()
        result = CheckResult(name, Verdict.UNKNOWN, f"the checker crashed: {cause}")
    return replace(result, elapsed_seconds=time.perf_counter() - started)
