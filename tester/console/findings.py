"""What went wrong, in full sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tester.console import units
from tester.console.styles import STATE_STYLES, VERDICT_STYLES
from tester.results import CaseResult, CaseState, CheckResult, Finding, RoundResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

_IDS_SHOWN = 6


def case_findings(case: CaseResult) -> RenderableType:
    """Why a case did not pass: the reason, then every checker that was not satisfied with its findings."""
    on = f" on {', '.join(case.targets)}" if case.targets else ""
    head = Text.assemble((case.name, "bold"), f"{on}: ", (case.state.value, STATE_STYLES[case.state]), ". ")
    head.append(_sentence(case.reason or "no reason was recorded"))
    return Group(head, *_checks(case.checks))


def round_findings(result: RoundResult) -> RenderableType | None:
    """What went wrong outside the cases: the error with its remedy, and checkers of the whole round."""
    checks = tuple(_checks(result.checks))
    if result.error is None and not checks:
        return None
    parts: list[RenderableType] = [Text(f"Round {result.number} as a whole:", style="bold")]
    if result.error is not None:
        error = Text.assemble(("error", STATE_STYLES[CaseState.ERROR]), f". {_sentence(result.error)}")
        parts.append(_indented(error, 2))
        if result.remedy:
            parts.append(_indented(Text(f"Remedy: {_sentence(result.remedy)}"), 2))
    return Group(*parts, *checks)


def proven_checks(result: RoundResult) -> RenderableType | None:
    """What the verdicts rest on: the checkers that were satisfied, and what those of the whole round saw."""
    verdicts: dict[str, Verdict] = {}
    for check in (check for case in result.cases for check in case.checks):
        verdicts[check.checker] = Verdict.worst(verdicts.get(check.checker, Verdict.VALID), check.verdict)
    satisfied = [checker for checker, verdict in verdicts.items() if verdict is Verdict.VALID]
    lines = [f"valid in all cases that were checked: {', '.join(satisfied)}"] if satisfied else []
    lines += [
        f"valid over the round: {check.checker}, {check.message}"
        for check in result.checks
        if check.verdict is Verdict.VALID
    ]
    lines += result.notes
    return (
        Group(*(_indented(Text(units.printable(line), style="dim"), 2) for line in lines)) if lines else None
    )


def _checks(checks: tuple[CheckResult, ...]) -> Iterator[RenderableType]:
    for check in checks:
        if check.verdict is Verdict.VALID:
            continue
        says = Text.assemble(
            (check.checker, "bold"),
            " says ",
            (check.verdict.value, VERDICT_STYLES[check.verdict]),
            f": {_sentence(check.message)}",
        )
        yield _indented(says, 2)
        for paragraph in check.explanation.splitlines():
            yield _indented(Text(paragraph, style="italic"), 4)
        if check.known:
            yield _indented(Text(f"Known: {_sentence(check.known)} The verdict stays."), 4)
        for finding in check.findings:
            yield _indented(Text(_sentence(units.printable(finding.message), _evidence(finding))), 4)
        more = check.findings_total - len(check.findings)
        if more > 0:
            yield _indented(
                Text(f"And {units.plural(more, 'more finding')} of this checker.", style="dim"), 4
            )


def _indented(text: Text, columns: int) -> Padding:
    return Padding(text, (0, 0, 0, columns), expand=False)


def _evidence(finding: Finding) -> str:
    groups: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("operation", finding.operations),
        ("revision", finding.revisions),
        ("member", finding.members),
    )
    return "; ".join(_listed(noun, values) for noun, values in groups if values)


def _listed(noun: str, values: tuple[object, ...]) -> str:
    shown = ", ".join(str(value) for value in values[:_IDS_SHOWN])
    more = len(values) - _IDS_SHOWN
    return f"{noun if len(values) == 1 else noun + 's'} {shown}{f' and {more} more' if more > 0 else ''}"


def _sentence(text: str, evidence: str = "") -> str:
    """The text with one full stop at its end; the evidence goes in brackets before it."""
    clean = units.printable_lines(text.strip()).rstrip(".")
    if evidence:
        clean = f"{clean} ({evidence})"
    return clean if clean.endswith(("!", "?")) else f"{clean}."
