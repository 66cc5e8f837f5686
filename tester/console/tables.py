"""The table of a round.

Everything is said in words; colours repeat it. What belongs together is stacked in one cell, so that 80
columns are enough; the reasons stand in full sentences below the table, where they have room.
"""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tester.console import units
from tester.console.findings import case_findings, proven_checks, round_findings
from tester.console.styles import STATE_STYLES
from tester.results import CaseResult, CaseState, Recovery, RoundResult

WIDE = 120
"""From this many columns on the verdict column has room for the reason."""

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


def round_table(result: RoundResult, rounds: int, width: int, rule: box.Box = box.SIMPLE_HEAD) -> Table:
    """One row per case, ``width`` columns at most."""
    wide = width >= WIDE
    table = Table(
        title=Text(_title(result, rounds), style="bold"),
        title_justify="left",
        box=rule,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        leading=1 if len(result.cases) > 1 else 0,
    )
    longest = max((len(case.name) for case in result.cases), default=0)
    table.add_column("case", overflow="fold", min_width=min(longest, max(16, width - 64)))
    table.add_column("timing", no_wrap=True)
    table.add_column("operations", no_wrap=True)
    if wide:
        table.add_column("rate", no_wrap=True)
    table.add_column("p50 / p95 / p99 / max" if wide else "p50 / p99", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=8)
    for case in result.cases:
        cells = [_who(case), _timing(case), _operations(case)]
        if wide:
            cells.append(_rates(case))
        table.add_row(*cells, _latency(case, wide=wide), _verdict(case, wide=wide))
    return table


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
    if (gap := _longest_gap(case)) is not None:
        text.append("\nmax gap  ", style="dim")
        text.append(f"{gap:>7}", style="yellow")
    return text


def _longest_gap(case: CaseResult) -> str | None:
    """In service, since the fault."""
    gaps = (*case.during.gaps, *case.after.gaps)
    lengths = [gap.end_ns - gap.start_ns for gap in gaps if gap.end_ns is not None]
    if len(lengths) < len(gaps):
        return "open"
    return units.seconds(max(lengths) / 1e9) if lengths else None


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
