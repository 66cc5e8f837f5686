"""One thread that owns the output, so that a terminal or pipe that stops reading never stops the run.

The run renews the leases of its faults on the event loop: were the loop to wait for a terminal stopped with
Ctrl-S, every host would heal itself in the middle of a hold.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tester.events import Event

TICK_SECONDS = 0.125
_CLOSE_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Screen(Protocol):
    """What the thread drives; only ever called from one thread at a time."""

    def open(self) -> None:
        """Before the first event."""

    def show(self, event: Event) -> None:
        """Write what the event says."""

    def tick(self) -> None:
        """Called every ``TICK_SECONDS``: time has passed."""

    def close(self) -> None:
        """After the last event, on every way out."""


class ConsoleThread:
    """Hands the events of a run to a screen, in order, on a thread of its own.

    Leaving the context waits until everything is written, at most ten seconds if nobody reads.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            _log.warning("nobody reads the output: its end is lost; see the run directory")

    def listener(self, event: Event) -> None:
        """Take one event in; returns at once and never raises."""
        self._events.put(event)

    def _run(self) -> None:
        try:
            self._screen.open()
            try:
                self._show_all()
            finally:
                self._screen.close()
        except Exception:  # noqa: BLE001 - the thread's boundary: a defect here must not end a run with faults on hosts
            _log.exception("the console has failed; the run goes on, see its run directory")

    def _show_all(self) -> None:
        next_tick = time.monotonic()
        while True:
            try:
                event = self._events.get(timeout=max(0.0, next_tick - time.monotonic()))
            except Empty:
                self._screen.tick()
                next_tick = time.monotonic() + TICK_SECONDS
                continue
            if event is None:
                return
            self._screen.show(event)
