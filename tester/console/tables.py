"""The table of a round.

Everything is said in words; colours repeat it. What belongs together is stacked in one cell, so that 80
columns are enough; what went wrong for the load stands across all columns under its case, and the reasons in
full sentences below the table, where they have room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tester.console import units
from tester.console.findings import case_findings, proven_checks, round_findings
from tester.console.styles import STATE_STYLES
from tester.console.troubles import load_troubles
from tester.results import CaseResult, CaseState, Recovery, RoundResult

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDE = 120
"""From this many columns on the verdict column has room for the reason."""

_LEAST_NAME = 16
_LEAST_VERDICT = 8

ASCII_HEAD = box.Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)
"""A rule of dashes under the header and nothing else; rich's own substitute draws a cage."""


def round_report(
    result: RoundResult, rounds: int, width: int, rule: box.Box = box.SIMPLE_HEAD
) -> RenderableType:
    """The table of a finished round and, under it, a paragraph for every case that did not pass."""
    parts: list[RenderableType] = [round_table(result, rounds, width, rule)]
    for case in result.cases:
        if case.state is not CaseState.PASSED:
            parts += [Text(), case_findings(case)]
    if proven := proven_checks(result):
        parts += [Text(), proven]
    if trouble := round_findings(result):
        parts += [Text(), trouble]
    return Group(*parts, Text())


def round_table(
    result: RoundResult, rounds: int, width: int, rule: box.Box = box.SIMPLE_HEAD
) -> RenderableType:
    """One row per case, ``width`` columns at most, and under it what went wrong for its load."""
    wide = width >= WIDE
    heads = ["case", "timing", "operations", "p50 / p99", "verdict"]
    if wide:
        heads[3:4] = ["rate", "p50 / p95 / p99 / max"]
    rows = [_cells(case, wide=wide) for case in result.cases]
    longest = max((len(case.name) for case in result.cases), default=0)
    widths = _widths([list(map(Text, heads)), *rows], width, min(longest, max(_LEAST_NAME, width - 64)))
    head = _row(heads, widths, rule)
    head.title, head.title_justify = Text(_title(result, rounds), style="bold"), "left"
    head.show_header = True
    parts: list[RenderableType] = [head]
    for place, (case, cells) in enumerate(zip(result.cases, rows, strict=True)):
        row = _row(heads, widths, rule)
        row.add_row(*cells)
        parts += [*([Text()] if place else []), row, *load_troubles(case)]
    return Group(*parts)


def _cells(case: CaseResult, *, wide: bool) -> list[Text]:
    rates = [_rates(case)] if wide else []
    return [
        _who(case),
        _timing(case),
        _operations(case),
        *rates,
        _latency(case, wide=wide),
        _verdict(case, wide=wide),
    ]


def _row(heads: Sequence[str], widths: Sequence[int], rule: box.Box) -> Table:
    """A table of its own, as wide as its siblings: what stands under a row goes across all columns."""
    table = Table(box=rule, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, show_header=False)
    for head, width in zip(heads, widths, strict=True):
        table.add_column(head, overflow="fold", width=width)
    return table


def _widths(rows: Sequence[Sequence[Text]], width: int, least: int) -> list[int]:
    """Of the columns: the first and the last give way, and the first keeps ``least``."""
    columns = zip(*rows, strict=True)
    widths = [max(cell_len(line) for cell in cells for line in cell.plain.split("\n")) for cells in columns]
    room = width - sum(widths[1:-1]) - 2 * (len(widths) - 1)
    verdict = min(widths[-1], max(room // 2, room - widths[0], _LEAST_VERDICT))
    # Not more than there is: what is in the middle would be folded amid its numbers.
    widths[0] = max(min(widths[0], room - verdict), min(least, max(_LEAST_NAME, room - _LEAST_VERDICT)))
    widths[-1] = max(min(widths[-1], room - widths[0]), _LEAST_VERDICT)
    return widths


def _title(result: RoundResult, rounds: int) -> str:
    provision, cleanup = units.seconds(result.provision_seconds), units.seconds(result.cleanup_seconds)
    took = units.seconds(result.elapsed_seconds)
    return f"{units.round_of(result.number, rounds).capitalize()}, {took} (provision {provision}, cleanup {cleanup})"


def _who(case: CaseResult) -> Text:
    return Text.assemble((case.name, "bold"), f"\n{_what(case)}")


def _what(case: CaseResult) -> str:
    """Its faults and whom they hit; a fault that came more than once, how often."""
    if len(case.faults) <= 1 and all(fault.times == 1 for fault in case.faults):
        on = f" on {', '.join(case.targets)}" if case.targets else ""
        return f"{case.fault}{on}"
    return " + ".join(
        f"{fault.fault} on {', '.join(fault.targets)}" + (f" x{fault.times}" if fault.times > 1 else "")
        for fault in case.faults
    )


def _timing(case: CaseResult) -> Text:
    if case.held_seconds is None and case.recovery is None:
        return Text(units.NOTHING, style="dim")
    text = Text.assemble(
        ("held     ", "dim"), f"{units.seconds(case.held_seconds):>7}\n", ("recovery ", "dim")
    )
    text.append(*_recovery(case.recovery))
    text.append("\nleader changes ", style="dim")
    text.append(str(case.leader_changes), style="yellow" if case.leader_changes else "dim")
    return text


def _recovery(recovery: Recovery | None) -> tuple[str, str]:
    if recovery is None:
        return f"{units.NOTHING:>7}", "dim"
    steps = (recovery.leader, recovery.serving, recovery.writes)
    reached = [step for step in steps if step is not None]
    if len(reached) < len(steps):
        return f"{'>' + units.seconds(recovery.limit):>7}", "bold red"
    return f"{units.seconds(max(reached)):>7}", ""


def _operations(case: CaseResult) -> Text:
    phases = (case.before, case.during, case.after)
    numbers = (
        ("ok", sum(stats.ok for stats in phases), ""),
        ("fail", sum(stats.fail for stats in phases), "red"),
        ("info", sum(stats.info for stats in phases), "yellow"),
    )
    if not any(number for _, number, _ in numbers):
        return Text(units.NOTHING, style="dim")
    text = Text()
    for name, number, style in numbers:
        text.append(f"{name:<5}", style="dim")
        text.append(f"{units.count(number):>5}\n", style=style if number else "dim")
    return text[:-1]


def _rates(case: CaseResult) -> Text:
    phases = (case.before, case.during, case.after)
    if not any(stats.ok for stats in phases):
        return Text(units.NOTHING, style="dim")
    return Text("\n".join(f"{units.count(stats.rate)}/s" for stats in phases))


def _latency(case: CaseResult, *, wide: bool) -> Text:
    phases = (("before", case.before), ("during", case.during), ("after", case.after))
    if not any(stats.ok for _, stats in phases):
        return Text(units.NOTHING, style="dim")
    text = Text()
    for name, stats in phases:
        text.append(f"{name:<7}", style="dim")
        shown = (stats.p50, stats.p95, stats.p99, stats.max) if wide else (stats.p50, stats.p99)
        text.append((" / ".join(map(units.seconds, shown)) if stats.ok else "none ok") + "\n")
    return text[:-1]


def _verdict(case: CaseResult, *, wide: bool) -> Text:
    text = Text.assemble((case.state.value, STATE_STYLES[case.state]))
    if case.reason and wide:
        text.append("\n" + units.printable(case.reason))
    return text
