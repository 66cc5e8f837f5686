"""One colour for each state and verdict; the word itself is always printed too."""

from __future__ import annotations

from tester.results import CaseState, Verdict

STATE_STYLES = {
    CaseState.PASSED: "green",
    CaseState.VIOLATED: "bold red",
    CaseState.UNKNOWN: "yellow",
    CaseState.ERROR: "bold yellow",
    CaseState.SKIPPED: "dim",
}
VERDICT_STYLES = {Verdict.VALID: "green", Verdict.INVALID: "bold red", Verdict.UNKNOWN: "yellow"}
