"""On a terminal: a live panel, and above it what is finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO, cast

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from tester.console import units
from tester.console.panel import panel
from tester.console.stream import Output
from tester.console.styles import STATE_STYLES
from tester.console.summary import run_summary
from tester.console.tables import round_report
from tester.console.view import View, advance
from tester.events import CaseFinished, Event, Notice, RoundFinished, RunFinished, RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable


class LiveScreen:
    """Redraws the panel on every tick; finished cases, rounds and warnings scroll away above it."""

    def __init__(
        self, stream: TextIO, *, width: int | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        # Nothing is markup, highlighted or an emoji code here: texts come from hosts.
        self._console = Console(
            file=cast("TextIO", Output(stream)), width=width, markup=False, highlight=False, emoji=False
        )
        self._now = now
        self._view = View()
        self._finished = False
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, get_renderable=self._draw
        )

    def open(self) -> None:
        """Start drawing."""
        self._live.start()

    def show(self, event: Event) -> None:
        """Take the event in; print what outlives the panel."""
        self._view = advance(self._view, event, self._now())
        if isinstance(event, RunFinished):
            self._finished = True
            self._live.stop()
        for part in self._lasting(event):
            self._console.print(part, crop=False)

    def tick(self) -> None:
        """Draw the panel again: durations grow."""
        if not self._finished:
            self._live.refresh()

    def close(self) -> None:
        """Take the panel away and give the cursor back."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        return panel(self._view, self._now(), self._console.width)

    def _lasting(self, event: Event) -> tuple[RenderableType, ...]:
        match event:
            case RunStarted():
                return (started_line(event), Text(f"Artefacts: {event.directory}", style="dim"), Text())
            case CaseFinished(result=case):
                line = Text.assemble((f"{case.state.value:<9}", STATE_STYLES[case.state]), case.name)
                if case.targets:
                    line.append(f" on {', '.join(case.targets)}", style="dim")
                line.append(f", {units.seconds(case.elapsed_seconds)}", style="dim")
                return (line,)
            case RoundFinished(result=result):
                rounds = self._view.started.rounds if self._view.started else result.number
                return (Text(), round_report(result, rounds, self._console.width))
            case RunFinished(result=result):
                return (run_summary(result),)
            case Notice(text=text, warning=True):
                return (Text(f"warning  {units.printable(text)}", style="yellow"),)
            case _:
                return ()


def started_line(event: RunStarted) -> Text:
    """What is about to be run."""
    text = Text.assemble((event.scenario, "bold"))
    text.append(
        f": {units.rounds(event.rounds)} of {units.plural(len(event.cases), 'case')} on "
        f"{units.plural(len(event.hosts), 'host')} ({', '.join(event.hosts)}), etcd {event.version}, "
        f"seed {event.seed}."
    )
    return text
