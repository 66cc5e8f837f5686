"""``progress``: who contends, watches or renews gets somewhere while the cluster serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult

LIMIT_SECONDS = 60.0
"""As etcd's own test suite has it for its runners."""


class Progress:
    """Every recipe's stresser makes a step at least once a minute, the time of faults not counted.

    It never says ``invalid``: a holder that keeps its lock, a rate too low or a lease too long look the same from
    outside, and no answer of etcd's is wrong.
    """

    name = "progress"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:  # noqa: ARG002 - the protocol's
        """Unknown for a stresser that stood still, or where nobody counted steps."""
        evidence = Evidence(self.name)
        for one in end.steps:
            if one.longest >= LIMIT_SECONDS:
                evidence.doubt(
                    f"{one.stresser} made no step for {one.longest:.0f} s although no fault was held and every"
                    f" member answered ({one.steps} steps in all): nothing of what it checks was tested meanwhile"
                )
        if not end.steps:
            evidence.nothing("no stresser whose steps are counted")
        told = (f"{one.stresser} {one.steps} steps, {one.longest:.1f} s at the most" for one in end.steps)
        return evidence.result(f"no stresser stood still: {'; '.join(told)} without one")
