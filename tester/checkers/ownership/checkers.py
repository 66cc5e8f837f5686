"""The two checkers of who holds what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence
from tester.checkers.ownership.claims import ClaimJudge

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult


class Locks:
    """A lock has one holder, and nobody else writes what it guards."""

    name = "locks"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:  # noqa: ARG002 - the protocol's
        """Invalid for two holders at a revision, or an unfenced write; unknown where nobody held a lock."""
        evidence = Evidence(self.name)
        judge = ClaimJudge(history, evidence, "lock")
        if not judge.held:
            evidence.nothing("no lock was held")
            return evidence.result("")
        judge.judge_tokens()
        judge.judge_holders()
        judge.judge_guards()
        return evidence.result(
            f"held {len(judge.held)} times, by one client at every revision; {judge.writes} guarded writes,"
            f" each by the holder; {judge.overlaps()} beliefs outlived their lease ({judge.watch.describe()})"
        )


class Elections:
    """An election has one leader, whom all observers see, and nobody else writes what it guards."""

    name = "elections"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:  # noqa: ARG002 - the protocol's
        """Invalid for two leaders at a revision or observers that differ; unknown where nobody observed."""
        evidence = Evidence(self.name)
        judge = ClaimJudge(history, evidence, "election")
        if not judge.held:
            evidence.nothing("no election was won")
        if not judge.observed:
            evidence.doubt("nobody observed an election")
        judge.judge_tokens()
        judge.judge_holders()
        judge.judge_observers()
        judge.judge_guards()
        return evidence.result(
            f"won {len(judge.held)} times, with one leader at every revision; {len(judge.observed)}"
            f" observations agree; {judge.writes} guarded writes, each by the leader ({judge.watch.describe()})"
        )
