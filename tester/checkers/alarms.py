"""``alarms``: no member has raised an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence
from tester.history.membership import not_asked

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult


class Alarms:
    """Reads which alarms members say are active. Not for scenarios that fill the database on purpose."""

    name = "alarms"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for an active alarm; unknown where a member could not be asked."""
        evidence = Evidence(self.name)
        for name, member in sorted(end.members.items()):
            for alarm in member.alarms:
                evidence.violation(
                    f"{name} raised the alarm {alarm}, which is active at revision {member.revision}",
                    revisions=[member.revision],
                    members=[name],
                )
            if member.error is not None:
                evidence.doubt(f"{name} could not be asked: {member.error}")
        for name in not_asked(history, end):
            evidence.doubt(f"{name} was not asked for its alarms")
        if not end.members:
            evidence.nothing("no member was asked for alarms")
        return evidence.result(f"no alarm is active on {len(end.members)} members")
