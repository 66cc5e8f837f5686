"""How exactly the packet queue delays, and what a packet costs it.

    python -m benchmarks.packet_queue [--packets N]

Two hosts in network namespaces of their own (needs root), numbered UDP packets of 200 bytes. The control is the
same wire without a queue, and with a queue that holds up nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.quality.link import Qualities
from tests.agent.pair import pair_of

if TYPE_CHECKING:
    from tests.agent.pair import Pair, Seen

_ASKED: Final[dict[str, Qualities]] = {
    "queue without delay": Qualities(),
    "50 ms": Qualities(delay_seconds=0.05),
    "50 ± 10 ms uniform": Qualities(delay_seconds=0.05, jitter_seconds=0.01),
    "50 ± 10 ms normal": Qualities(delay_seconds=0.05, jitter_seconds=0.01, distribution="normal"),
    "50 ± 10 ms, 1 % twice": Qualities(delay_seconds=0.05, jitter_seconds=0.01, duplicate=0.01),
}
_GAPS: Final = {"sparse": 0.002, "dense": 0.0}
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def processor_seconds(process: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def measure(pair: Pair, packets: int) -> None:
    """Measure and print."""
    print(
        f"{'asked':<22}{'packets':<10}{'mean ms':>9}{'sd ms':>8}{'p99 ms':>9}{'arrived':>9}{'µs/packet':>11}"
    )
    for name, gap in _GAPS.items():
        count = packets if gap else 20 * packets
        # As many as fit into the queue, which is sized for the delay, at one time.
        _print("control: no queue", name, await pair.send(packets, gap_seconds=gap), "")
        for asked, qualities in _ASKED.items():
            async with pair.queue(qualities):
                process = await pair.owner()
                if process is None:
                    raise RuntimeError("nobody has the queue")
                before = processor_seconds(process)
                seen = await pair.send(count, gap_seconds=gap or 0.00002)
                used = processor_seconds(process) - before
            _print(asked, name, seen, f"{used / count * 1e6:.1f}")


def _print(asked: str, gap: str, seen: Seen, cost: str) -> None:
    delays = sorted(1e3 * delay for delay in seen.delays)
    print(
        f"{asked:<22}{gap:<10}{statistics.fmean(delays):9.2f}{statistics.pstdev(delays):8.2f}"
        f"{delays[int(len(delays) * 0.99)]:9.2f}{len(delays):9}{cost:>11}"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, pair_of(Path(directory)) as pair:
        asyncio.run(measure(pair, arguments.packets))


if __name__ == "__main__":
    main()
