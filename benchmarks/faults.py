"""What it takes until a fault is there and verified, and until it is gone and verified, as a tester waits for it.

    python -m benchmarks.faults [--turns N] [--version 3.5.30]

Three agents and a whole cluster in network namespaces of their own (needs root). The control is a request
that does nothing; kinds take turns, so that a busy machine hits all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
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
_CONTROL: Final = "(no fault)"


async def turn(agent: AgentClient, number: int, seconds: dict[tuple[str, str], list[float]]) -> None:
    """Every kind once."""
    start = time.perf_counter()
    await agent.clock()
    seconds[_CONTROL, "inject"].append(time.perf_counter() - start)
    for spec in _SPECS:
        direction = f"-{spec.direction}" if isinstance(spec, NetworkFault) else ""
        kind = f"{spec.kind}{direction}"
        name = f"bench-{number}-{kind}"
        start = time.perf_counter()
        await agent.inject(FaultRequest(id=name, spec=spec, lease_seconds=60, reason="benchmark"))
        injected = time.perf_counter()
        await agent.heal(name)
        seconds[kind, "inject"].append(injected - start)
        seconds[kind, "heal"].append(time.perf_counter() - injected)


async def measure(turns: int, version: str) -> None:
    """Measure and print."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        async with fleet_of(Path(directory), version) as fleet:
            for number in range(turns):
                await turn(fleet.agents["h1"], number, seconds)
    print(f"{'fault':<14}{'':<8}{'p50 ms':>8}{'max ms':>8}   n={turns}")
    for (kind, what), values in seconds.items():
        print(f"{kind:<14}{what:<8}{statistics.median(values) * 1e3:8.1f}{max(values) * 1e3:8.1f}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--version", default="3.5.30")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.turns, arguments.version))


if __name__ == "__main__":
    main()
