"""What it takes until a fault is there and verified, and until it is gone and verified, as a tester waits for it.

    python -m benchmarks.faults [--turns N] [--version 3.5.30]

Three agents and a whole cluster in network namespaces of their own (needs root). The controls are a request that
does nothing and, for what starts etcd, such a start alone: of a member that was stopped, asked for without any
fault. Kinds take turns, so that a busy machine hits all of them alike. CPU is the agent's with that of every
program it has run and waited for, etcd and its parent not among them; a mean, since the kernel counts in 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.models import (
    ClientPortFault,
    FaultRequest,
    FaultSpec,
    IsolateFault,
    KillFault,
    NetworkFault,
    PartitionFault,
    PauseFault,
    Peer,
    PeerPortFault,
    RestartFault,
    StopFault,
)
from tests.agent.hosts import fleet_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_client import AgentClient

_PEERS: Final = (Peer(address="10.209.0.2", port=2380), Peer(address="10.209.0.3", port=2380))
_SPECS: Final[tuple[FaultSpec, ...]] = (
    PauseFault(),
    KillFault(),
    StopFault(),
    RestartFault(),
    IsolateFault(peer_port=2380, peers=_PEERS),
    PartitionFault(peer_port=2380, peers=_PEERS, direction="both"),
    ClientPortFault(port=2379, action="drop"),
    PeerPortFault(port=2380, action="reject"),
    NetworkFault(peer_port=2380, peers=_PEERS, direction="in", delay_seconds=0.01),
    NetworkFault(peer_port=2380, peers=_PEERS, direction="out", rate_bits_per_second=100_000_000),
)
_NOTHING: Final = "control: no fault"
_START: Final = "control: etcd starts"
_TICKS_PER_MS: Final = os.sysconf("SC_CLK_TCK") / 1000


class Clock:
    """Wall and CPU milliseconds of what was asked of one agent, by what it was."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self.wall: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.cpu: dict[tuple[str, str], list[float]] = defaultdict(list)

    def _cpu_ms(self) -> float:
        fields = self._stat.read_text(encoding="ascii").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS_PER_MS

    @contextmanager
    def measured(self, kind: str, what: str) -> Iterator[None]:
        """Around one request."""
        cpu, start = self._cpu_ms(), time.perf_counter()
        yield
        self.wall[kind, what].append((time.perf_counter() - start) * 1e3)
        self.cpu[kind, what].append(self._cpu_ms() - cpu)


async def turn(agent: AgentClient, number: int, clock: Clock) -> None:
    """Every kind once."""
    with clock.measured(_NOTHING, "inject"):
        await agent.clock()
    member = await agent.member()
    if member.spec is None:
        raise RuntimeError("the member was never started")
    await agent.stop()
    with clock.measured(_START, "inject"):
        await agent.start(member.spec)
    for spec in _SPECS:
        direction = f", {spec.direction}" if isinstance(spec, NetworkFault) else ""
        kind = f"{spec.kind}{direction}"
        name = f"bench-{number}-{kind.replace(', ', '-')}"
        with clock.measured(kind, "inject"):
            await agent.inject(FaultRequest(id=name, spec=spec, lease_seconds=60, reason="benchmark"))
        with clock.measured(kind, "heal"):
            await agent.heal(name)


async def measure(turns: int, version: str) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        async with fleet_of(Path(directory), version) as fleet:
            process = fleet.hosts["h1"].agent.process
            if process is None:
                raise RuntimeError("the agent does not run")
            clock = Clock(process.pid)
            for number in range(turns):
                await turn(fleet.agents["h1"], number, clock)
    control = statistics.median(clock.wall[_NOTHING, "inject"])
    print(f"{'fault':<22}{'':<8}{'p50 ms':>8}{'max ms':>8}{'of control':>12}{'CPU ms':>8}   n={turns}")
    for (kind, what), values in clock.wall.items():
        p50, cpu = statistics.median(values), statistics.mean(clock.cpu[kind, what])
        print(f"{kind:<22}{what:<8}{p50:8.1f}{max(values):8.1f}{p50 / control:12.1f}{cpu:8.1f}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--version", default="3.5.30")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.turns, arguments.version))


if __name__ == "__main__":
    main()
