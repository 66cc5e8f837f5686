"""Not a terminal: a line per event with the time, in ASCII, without control codes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO, cast

from rich.console import Console, RenderableType

from tester.console import units
from tester.console.live import started_line
from tester.console.stream import Output
from tester.console.summary import run_summary
from tester.console.tables import ASCII_HEAD, round_report
from tester.events import (
    CaseFinished,
    Event,
    FaultHealed,
    FaultInjected,
    LeaderChanged,
    LoadSample,
    MemberExited,
    MembershipChanged,
    Notice,
    PhaseStarted,
    Progress,
    RoundFinished,
    RoundStarted,
    RunFinished,
    RunStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.results import CaseResult

WIDTH = 120
LOAD_LINE_SECONDS = 10.0
"""A load line at most this often: a sign of life in a log, not a graph."""


class PlainScreen:
    """Writes lines; tables come in ASCII, ``WIDTH`` columns wide."""

    def __init__(
        self,
        stream: TextIO,
        *,
        now: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._out = Output(stream, ascii_only=True)
        self._tables = Console(
            file=cast("TextIO", self._out),
            width=WIDTH,
            color_system=None,
            force_terminal=False,
            markup=False,
            highlight=False,
            emoji=False,
        )
        self._now = now
        self._time_of_day = time_of_day
        self._rounds = 0
        self._load_line_at = -LOAD_LINE_SECONDS

    def open(self) -> None:
        """Nothing to do."""

    def tick(self) -> None:
        """Nothing to do: lines do not move."""

    def close(self) -> None:
        """Everything is written already."""

    def show(self, event: Event) -> None:
        """Write what the event says; load samples only now and then."""
        if isinstance(event, LoadSample):
            if self._now() - self._load_line_at < LOAD_LINE_SECONDS:
                return
            self._load_line_at = self._now()
        self._line(describe(event, self._rounds))
        match event:
            case RunStarted(rounds=rounds):
                self._rounds = rounds
            case RoundFinished(result=result):
                self._block(round_report(result, self._rounds, WIDTH, ASCII_HEAD))
            case RunFinished(result=result):
                self._block(run_summary(result))
            case _:
                pass
        self._out.flush()

    def _line(self, text: str) -> None:
        stamp = self._time_of_day().astimezone(UTC).strftime("%H:%M:%SZ")
        self._out.write(f"{stamp}  {text}\n")

    def _block(self, part: RenderableType) -> None:
        with self._tables.capture() as capture:
            self._tables.print(part, crop=False)
        lines = (line.rstrip() for line in capture.get().split("\n"))
        self._out.write("\n" + "\n".join(lines))


def describe(event: Event, rounds: int) -> str:  # noqa: C901 - one arm per event, nothing nested
    """One event in one line of text; ``rounds`` is how many the run has."""
    match event:
        case RunStarted():
            return f"{started_line(event).plain} Artefacts: {event.directory}"
        case RoundStarted(number=number):
            return units.round_of(number, rounds)
        case PhaseStarted():
            case = f"case {event.case}: " if event.case else ""
            length = f" for {units.seconds(event.expected_seconds)}" if event.expected_seconds else ""
            return f"{case}{event.phase.value}{length}"
        case Progress(text=text):
            return f"  {units.printable(text)}"
        case FaultInjected() | FaultHealed():
            done = "injected" if isinstance(event, FaultInjected) else "healed"
            return units.printable(f"fault {event.kind} {done} on {event.member}: {event.evidence}")
        case LeaderChanged(leader=leader, term=term):
            return f"leader is {leader}, term {term}" if leader else f"no leader, term {term}"
        case MemberExited(member=member, expected=expected, text=text):
            asked = "as asked" if expected else "UNEXPECTEDLY"
            return units.printable(f"member {member} exited {asked}: {text}")
        case MembershipChanged(member=member, change=change):
            return f"members: {member} {change.value}"
        case LoadSample():
            return _load(event)
        case CaseFinished(result=result):
            return _case(result)
        case RoundFinished(result=result):
            return f"round {result.number} done in {units.seconds(result.elapsed_seconds)}"
        case RunFinished(result=result):
            return f"run done in {units.seconds(result.elapsed_seconds)}"
        case Notice(text=text, warning=warning):
            return units.printable(f"{'WARNING' if warning else 'note'}: {text}")


def _load(sample: LoadSample) -> str:
    return (
        f"load {units.count(sample.rate)}/s, ok {units.count(sample.ok)}, fail {units.count(sample.fail)}, "
        f"info {units.count(sample.info)}, p50 {units.seconds(sample.p50)}, p99 {units.seconds(sample.p99)}"
    )


def _case(case: CaseResult) -> str:
    on = f" on {', '.join(case.targets)}" if case.targets else ""
    reason = f": {units.printable(case.reason)}" if case.reason else ""
    return f"case {case.name}{on} {case.state.value} after {units.seconds(case.elapsed_seconds)}{reason}"
