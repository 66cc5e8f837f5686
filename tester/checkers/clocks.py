"""What becomes of a verdict where the clock of a load host was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tester.results import Verdict

if TYPE_CHECKING:
    from tester.history.history import History
    from tester.results import CheckResult


def timely(check: CheckResult, history: History) -> CheckResult:
    """The same; ``unknown`` where times that it rests on are no evidence. What it would have said stays in it."""
    lost = next((record for record in history.clocks if record.lost), None)
    if lost is None or check.verdict is Verdict.UNKNOWN:
        return check
    reason = f"the times of operations from load host {lost.host} are not known: {lost.lost}"
    else_said = f"if they were right: {check.verdict}"
    message = f"{reason}; {else_said}, {check.message}" if check.message else f"{reason}; {else_said}"
    return replace(check, verdict=Verdict.UNKNOWN, message=message)
