"""Ctrl-C, SIGTERM, a closed terminal: the first asks for an orderly end, later ones hear that it is under way."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tester.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.events import EventBus

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupt:
    """Whether a person asked for the end. The first signal cancels the task that is being interrupted."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._asked = False
        self._task: asyncio.Task[object] | None = None

    @property
    def asked(self) -> bool:
        """True from the first signal on."""
        return self._asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals of this process while the body, run by the current task, goes on."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        # Who starts a run with nohup does not want it to end with the terminal.
        watched = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in watched:
            loop.add_signal_handler(number, self._signalled, signal.Signals(number))
        try:
            yield
        finally:
            for number in watched:
                loop.remove_signal_handler(number)
            self._task = None

    def _signalled(self, number: signal.Signals) -> None:
        if self._asked:
            self._bus.publish(
                Notice("still healing and cleaning up; hosts that are left alone heal by lease")
            )
            return
        self._asked = True
        self._bus.publish(
            Notice(f"{number.name}: the load stops, faults heal, hosts are cleaned up", warning=True)
        )
        if self._task is not None:
            self._task.cancel()
