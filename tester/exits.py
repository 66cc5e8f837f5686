"""The ends of member processes, as their agents notice them, on the run clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_client import AgentClientError
from tester.events import EventBus, MemberExited, Notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_client import AgentClient
    from agent_service.models import ExitRecord
    from tester.clock import RunClock

_CLOCK_READINGS = 5
_EXIT_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """From a host's monotonic clock to the run clock: ``run = host - offset``, give or take ``error_ns``."""

    offset_ns: int
    error_ns: int


async def measure_offset(client: AgentClient, clock: RunClock) -> ClockOffset:
    """The best of a few readings: the one with the shortest round trip."""
    best: ClockOffset | None = None
    for _ in range(_CLOCK_READINGS):
        asked = clock.now()
        reading = await client.clock()
        answered = clock.now()
        error = (answered - asked + 1) // 2
        if best is None or error < best.error_ns:
            best = ClockOffset(reading.monotonic_ns - (asked + answered) // 2, error)
    if best is None:
        raise AssertionError("at least one reading")
    return best


class ExitWatch:
    """Tells of every end of a member process, as its agent noticed it, on the run clock."""

    def __init__(
        self,
        agents: Mapping[str, AgentClient],
        bus: EventBus,
        clock: RunClock,
        offsets: Mapping[str, ClockOffset],
    ) -> None:
        self._agents = agents
        self._bus = bus
        self._clock = clock
        self._offsets = dict(offsets)
        self._seen: dict[str, int] = {}
        self.silent: set[str] = set()
        """Hosts whose agent did not answer the last poll."""
        self.layerless: set[str] = set()
        """Hosts on which the layer under the member's data has ended by itself."""
        self.exits: list[tuple[str, int, ExitRecord]] = []
        """Host, time on the run clock, record."""

    @property
    def unexpected(self) -> list[tuple[str, int, ExitRecord]]:
        """Those nobody asked for."""
        return [entry for entry in self.exits if not entry[2].expected]

    async def run(self) -> None:
        """Poll until cancelled. An agent that does not answer is told of once, and asked again."""
        while True:
            await asyncio.gather(*(self._poll(host) for host in self._agents))
            await asyncio.sleep(_EXIT_POLL_SECONDS)

    async def poll_now(self) -> None:
        """One poll of every agent, for a moment when the answer must be fresh."""
        await asyncio.gather(*(self._poll(host) for host in self._agents))

    async def _poll(self, host: str) -> None:
        try:
            status = await self._agents[host].member()
        except AgentClientError as error:
            if host not in self.silent:
                self.silent.add(host)
                self._bus.publish(Notice(f"{host}: its agent does not answer: {error}", warning=True))
            return
        if host in self.silent:
            try:
                # The host may have booted meanwhile, and its monotonic clock begun anew.
                self._offsets[host] = await measure_offset(self._agents[host], self._clock)
            except AgentClientError:
                return  # asked again with the next poll
            self.silent.discard(host)
            self._bus.publish(Notice(f"{host}: its agent answers again"))
        # The first answer sets the mark: what ended before this round is no news of this round.
        new = status.exits_total - self._seen.setdefault(host, status.exits_total)
        self._seen[host] = status.exits_total
        if status.disk_layer is not None and not status.disk_layer.alive:
            self.layerless.add(host)
        for record in status.exits[-new:] if new > 0 else ():
            if record.disk_layer_died:
                self.layerless.add(host)
            at_ns = record.monotonic_ns - self._offsets[host].offset_ns
            self.exits.append((host, at_ns, record))
            self._bus.publish(MemberExited(at_ns, host, record.expected, describe_exit(record)))


def describe_exit(record: ExitRecord) -> str:
    """One line: how it ended and who asked for it."""
    how = f"signal {record.signal}" if record.signal is not None else f"status {record.code}"
    if record.signal is None and record.code is None:
        how = "in a way nobody could see"
    if record.expected:
        return f"ended with {how}, asked for by {record.cause}"
    last = f"; last log line: {record.log_tail[-1]}" if record.log_tail else ""
    return f"ended with {how} although nobody asked for it{last}"
