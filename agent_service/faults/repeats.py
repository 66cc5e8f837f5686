"""When what a held fault does again and again is due."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from agent_service.faults.journal import NS
from agent_service.models import FaultState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.faults.journal import Entry, Journal


class Repeats:
    """Calls ``repeat`` with the id of every injected fault that has something to repeat, when it is due.

    The time between two rounds counts from the end of one to the start of the next, so that what is slow
    never piles up. An agent that starts anew waits a whole interval first.
    """

    def __init__(self, journal: Journal, repeat: Callable[[str], Awaitable[None]]) -> None:
        self._journal = journal
        self._repeat = repeat
        self._due_ns: dict[str, int] = {}
        self._changed = asyncio.Event()

    def look_again(self) -> None:
        """A fault came or went."""
        self._changed.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self._changed.clear()
            self._take_up()
            now = time.monotonic_ns()
            due = [fault_id for fault_id, at in self._due_ns.items() if at <= now]
            await asyncio.gather(*map(self._again, due))
            if not due:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_until_due()):
                        await self._changed.wait()

    def _take_up(self) -> None:
        """Count on from now for faults that are new here; forget those that are over."""
        held = {entry.id: entry for entry in self._journal.oldest_first() if _repeats(entry)}
        known = self._due_ns
        self._due_ns = {fault_id: known.get(fault_id) or _next(entry) for fault_id, entry in held.items()}

    async def _again(self, fault_id: str) -> None:
        try:
            await self._repeat(fault_id)
        finally:
            self._due_ns.pop(fault_id, None)

    def _seconds_until_due(self) -> float | None:
        if not self._due_ns:
            return None
        return max(0.0, (min(self._due_ns.values()) - time.monotonic_ns()) / NS)


def _repeats(entry: Entry) -> bool:
    return entry.state is FaultState.INJECTED and entry.steps.repeat is not None


def _next(entry: Entry) -> int:
    seconds = entry.steps.repeat.every_seconds if entry.steps.repeat is not None else 0.0
    return time.monotonic_ns() + int(seconds * NS)
