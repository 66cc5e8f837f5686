"""The live panel: a view and the time in, something rich can draw out."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tester.console import units
from tester.console.view import ERRORS_SHOWN, View

MAX_WIDTH = 110
_LABEL_WIDTH = 8
_BAR_WIDTH = 28


def panel(view: View, now: float, width: int) -> RenderableType:
    """The whole live view at ``now``, seconds on the clock that made the view, at most ``width`` columns."""
    if view.started is None:
        return Text("starting", style="dim")
    rows = Table.grid(padding=(0, 1))
    rows.add_column(width=_LABEL_WIDTH, min_width=_LABEL_WIDTH, style="dim", no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_row("phase", _phase(view, now))
    if view.progress:
        rows.add_row("", Text(units.printable(view.progress), style="dim", no_wrap=True, overflow="ellipsis"))
    _load(rows, view)
    if view.leader is not None:
        rows.add_row("leader", _leader(view, now))
    rows.add_row("faults", _faults(view, now))
    for member, text in view.down.items():
        rows.add_row("exited", Text(units.printable(f"{member}: {text}"), style="bold red"))
    for notice in view.notices:
        style = "yellow" if notice.warning else ""
        label = "warning" if notice.warning else "notice"
        rows.add_row(label, Text(units.printable(notice.text), style=style))
    title = Text.assemble(("etcd-chaos", "bold"), " ", (view.started.scenario, "cyan"))
    subtitle = Text(f"seed {view.started.seed}, {units.clock(now - view.since)}", style="dim")
    return Panel(
        Group(_where(view), Text(), rows),
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="dim",
        width=min(width, MAX_WIDTH),
    )


def _where(view: View) -> Text:
    started = view.started
    if started is None or view.round == 0:
        return Text("preparing", style="bold")
    text = Text(f"round {view.round}" + (f"/{started.rounds}" if started.rounds else ""), style="bold")
    total = len(started.cases)
    if view.case is not None:
        text.append(f"   case {min(view.cases_done + 1, total)}/{total}   ")
        text.append(view.case, style="bold cyan")
    elif view.cases_done:
        text.append(f"   {view.cases_done} of {units.plural(total, 'case')} done", style="not bold")
    return text


def _phase(view: View, now: float) -> RenderableType:
    if view.phase is None:
        return Text(units.NOTHING, style="dim")
    elapsed = max(0.0, now - view.phase_since)
    line = Table.grid(padding=(0, 1))
    name = Text(f"{view.phase.phase.value:<9}", style="bold")
    expected = view.phase.expected_seconds
    if not expected:
        line.add_row(name, Text(units.seconds(elapsed) if elapsed >= 1 else ""))
        return line
    bar = ProgressBar(
        total=expected,
        completed=min(elapsed, expected),
        width=_BAR_WIDTH,
        complete_style="cyan",
        finished_style="cyan",
    )
    line.add_row(name, bar, Text(f"{elapsed:.1f} of {units.seconds(expected)}"))
    return line


def _load(rows: Table, view: View) -> None:
    load = view.load
    if load is None:
        return
    line = Text(f"{units.count(load.rate)}/s".ljust(9), style="bold")
    line.append(units.sparkline(tuple(sample.rate for sample in view.samples)), style="not bold cyan")
    line.append(f"  p50 {units.seconds(load.p50)}  p99 {units.seconds(load.p99)}", style="not bold")
    rows.add_row("load", line)
    totals = Text()
    numbers = (("ok", load.ok, "green"), ("fail", load.fail, "red"), ("info", load.info, "yellow"))
    for name, number, style in numbers:
        totals.append(f"{name} ", style="dim")
        totals.append(f"{units.count(number)}   ", style=style if number else "dim")
    rows.add_row("", totals)
    recent = sum((Counter(sample.errors) for sample in view.samples), Counter[str]())
    if recent:
        text = "   ".join(
            f"{kind} {units.count(number)}" for kind, number in recent.most_common(ERRORS_SHOWN)
        )
        rows.add_row("errors", Text(units.printable(text), style="yellow"))


def _leader(view: View, now: float) -> Text:
    leader = view.leader
    lasting = units.lasting(now - view.leader_since)
    if leader is None or leader.leader is None:
        return Text(f"none for {lasting}", style="bold yellow")
    return Text.assemble((leader.leader, "bold"), (f"   term {leader.term}, for {lasting}", "dim"))


def _faults(view: View, now: float) -> Text:
    if not view.faults:
        return Text("none", style="dim")
    text = Text()
    for fault in view.faults:
        text.append(f"{fault.kind} ", style="bold magenta")
        text.append(f"{fault.member} ")
        text.append(f"for {units.lasting(now - fault.since)}   ", style="dim")
    return text
