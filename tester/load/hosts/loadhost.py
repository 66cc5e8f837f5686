"""A load host as the tester knows it: its agent, and its clock, measured before, while and after it works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from tester.errors import LoadError
from tester.events import EventBus, Notice
from tester.history.describe import describe_clock
from tester.history.records import ClockRecord
from tester.load.hosts.hostclock import ClockLostError, Exchange, HostClock, best

if TYPE_CHECKING:
    from agent_client import AgentClient
    from tester.clock import RunClock
    from tester.history.writer import Recorder

_EXCHANGES: Final = 4
"""Taken in a row; the one with the shortest round trip counts."""


class LoadHost:
    """Shared by the workers of one host."""

    def __init__(
        self, name: str, agent: AgentClient, clock: RunClock, recorder: Recorder, bus: EventBus
    ) -> None:
        """A host of which nothing has been asked yet. What becomes of its clock goes to ``recorder``."""
        self.name = name
        self.agent = agent
        self.run_clock = clock
        self.clock = HostClock()
        self._recorder = recorder
        self._bus = bus
        self._boot_id = ""
        self._lost = ""
        self._workers = 0
        self._error = 0
        """The largest of a time, of all workers."""
        self._turn = asyncio.Lock()

    async def measure(self) -> None:
        """Take some exchanges. A clock that jumped is told of once, and recorded.

        Raises:
            AgentClientError: the agent did not answer.
            LoadError: the host was booted anew.
        """
        async with self._turn:
            exchanges = []
            for _ in range(_EXCHANGES):
                asked = self.run_clock.now()
                reading = await self.agent.clock()
                exchanges.append(Exchange(asked, reading.monotonic_ns, self.run_clock.now()))
                if self._boot_id not in {"", reading.boot_id}:
                    raise LoadError(f"load host {self.name} was booted anew, and its load is gone")
                self._boot_id = reading.boot_id
            try:
                self.clock.add(best(exchanges))
            except ClockLostError as error:
                self._lose(str(error))

    def record(self, error: int) -> ClockRecord:
        """Put into the history how the clock stands. ``error``: the largest of a time; nanoseconds."""
        offset, now = self.clock.now()
        record = ClockRecord(self.run_clock.now(), self.name, offset, max(error, now), self._lost)
        self._error = max(self._error, record.error)
        self._recorder.write(record)
        return record

    def begin(self) -> None:
        """One more worker is about to start."""
        self._workers += 1
        self.record(0)

    def end(self) -> None:
        """A worker is done; with the last of them, whoever watches is told of the clock."""
        self._workers -= 1
        if not self._workers:
            record = msgspec.structs.replace(self.record(0), error=self._error)
            self._bus.publish(Notice(describe_clock(record)))

    def warn(self, text: str) -> None:
        """Tell whoever watches the run."""
        self._bus.publish(Notice(text, warning=True))

    def _lose(self, reason: str) -> None:
        first, self._lost = not self._lost, self._lost or reason
        self.record(0)
        if first:
            self.warn(
                f"load host {self.name}: its clock cannot be followed: {reason}; "
                "what depends on the times of its operations will be unknown"
            )
