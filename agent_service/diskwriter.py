"""Writes to the state disk that nobody has to wait for longer than a moment.

A disk can hang for minutes: a lost iSCSI path, a full thin pool, a fault of our own. What must not wait for it
(an undo, an answer) hands its write to this thread and goes on when the moment is over; the write stays in line
and is done when the disk is back.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING, Final

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS: Final = 1.0
"""How long one write is waited for. While an earlier one is late, the next ones are not waited for at all."""

_MAX_WAITING: Final = 1000

_log = logging.getLogger(__name__)


class _Write:
    """One write on its way, and who waits for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()

    def run(self) -> None:
        error: Exception | None = None
        try:
            self._work()
        except Exception as problem:  # noqa: BLE001 - handed to whoever waits, or logged
            error = problem
        try:
            self._loop.call_soon_threadsafe(self._tell, error)
        except RuntimeError:  # the loop is closed: the agent ends
            _log.warning("a write ended after the agent: %s", error or "done")

    def _tell(self, error: Exception | None) -> None:
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class DiskWriter:
    """Writes in the order in which they were asked for, one at a time, on a thread of its own."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Write] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hangs = False
        """Until the write that somebody gave up waiting for is done."""

    async def write(self, work: Callable[[], None], what: str) -> None:
        """Do ``work`` on the thread, and wait a moment for its end.

        Raises:
            UnavailableError: the disk has not answered in time; the write stays in line, unless too many do.
            Exception: whatever ``work`` raised.
        """
        if self._queue.qsize() >= _MAX_WAITING:
            raise UnavailableError(f"{what}: the state disk hangs and {_MAX_WAITING} writes wait for it")
        if self._thread is None:
            # A daemon: a disk that never comes back must not keep the agent from ending.
            self._thread = threading.Thread(target=self._run, name="disk-writer", daemon=True)
            self._thread.start()
        write = _Write(work)
        self._queue.put(write)
        await asyncio.wait({write.done}, timeout=0 if self._hangs else PATIENCE_SECONDS)
        if write.done.done():
            write.done.result()
            return
        if not self._hangs:
            self._hangs = True
            write.done.add_done_callback(self._caught_up)
        write.done.add_done_callback(_look)
        raise UnavailableError(
            f"{what}: the state disk has not answered for {PATIENCE_SECONDS:g} s",
            remedy="see what keeps it: dmesg, iostat; what was to be written stays in line",
        )

    def _run(self) -> None:
        while True:
            self._queue.get().run()

    def _caught_up(self, _done: asyncio.Future[None]) -> None:
        self._hangs = False


def _look(done: asyncio.Future[None]) -> None:
    """Nobody waits any more: what went wrong late goes to the log."""
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.error("a late write failed: %s", error)
