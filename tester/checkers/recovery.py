"""``recovery``: after every fault the cluster was whole again within the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult

_STEPS = {
    "leader": "have a leader",
    "serving": "answer linearizable reads at every member",
    "writes": "accept writes at every member",
}


class RecoveryTimes:
    """Measured times from the end of healing, against the scenario's limit."""

    name = "recovery"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid when a step was not reached, or later than the limit; unknown when nothing was measured."""
        evidence = Evidence(self.name)
        slowest = 0.0
        for recovery in end.recoveries:
            for step, text in _STEPS.items():
                seconds: float | None = getattr(recovery.times, step)
                limit = recovery.times.limit
                if seconds is None:
                    evidence.violation(f"case {recovery.case}: the cluster did not {text} within {limit:g} s")
                elif seconds > limit:
                    evidence.violation(
                        f"case {recovery.case}: the cluster took {seconds:.3f} s to {text}, limit {limit:g} s"
                    )
                else:
                    slowest = max(slowest, seconds)
        injected = {fault.id: fault for fault in history.faults if fault.state == "injected"}
        healed = {fault.id for fault in history.faults if fault.state == "healed"}
        for fault in (fault for name, fault in injected.items() if name not in healed):
            evidence.doubt(f"{fault.kind} on {fault.member} (fault {fault.id}) was not healed")
        if not end.recoveries:
            evidence.nothing("no recovery was measured")
        return evidence.result(f"whole again within {slowest:.3f} s")
