"""Which console there is for a stream."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Protocol, TextIO, TypeAlias

from tester.console.jsonlines import JsonScreen
from tester.console.live import LiveScreen
from tester.console.plain import PlainScreen
from tester.console.thread import ConsoleThread, Screen

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tester.events import Event

Mode: TypeAlias = Literal["live", "plain", "json"]


class RunConsole(Protocol):
    """What shows a run: subscribe ``listener`` to the run's ``EventBus``."""

    def listener(self, event: Event) -> None:
        """Take one event in; returns at once and never raises."""


def choose_mode(stream: TextIO, *, json: bool) -> Mode:
    """``json`` if asked for, ``live`` on a terminal that can move its cursor, else ``plain``."""
    if json:
        return "json"
    if stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}:
        return "live"
    return "plain"


def make_console(mode: Mode, stream: TextIO) -> AbstractContextManager[RunConsole]:
    """The console for ``mode``, writing to ``stream``; enter it before the first event.

    Leaving it gives the terminal back as it was, whatever happened inside.
    """
    screen: Screen
    match mode:
        case "live":
            screen = LiveScreen(stream)
        case "plain":
            screen = PlainScreen(stream)
        case "json":
            screen = JsonScreen(stream)
    return ConsoleThread(screen)
