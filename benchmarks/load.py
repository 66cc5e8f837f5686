"""What recording costs: the same puts with and without a history, in one run, in turn.

    python benchmarks/load.py [--version 3.5.1] [--clients 64] [--seconds 3] [--turns 3]

Starts three members in a network namespace of its own (needs unshare) and prints one JSON object. CPU is that
of the client process, per operation. ``bare`` is the control: the same clients over the same channel, and nothing
written. ``grpc`` is the other one: recorded, over grpc.aio. Ratios compare rates within the run; absolute figures
depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tester.etcd.channel import Connect

sys.path.insert(0, str(Path(__file__).parent.parent))

from tester.clock import RunClock
from tester.etcd.connect import connect_grpc, connect_h2
from tester.etcd.monitor import ClusterMonitor
from tester.events import EventBus
from tester.history.reader import read_history
from tester.history.records import HistoryRecord, Invoke
from tester.history.writer import HistoryWriter, Recorder
from tester.load.client import Client, Shared
from tester.load.kinds import OperationKind
from tester.load.operations import Mix, OperationSource
from tester.load.pacer import Pacer
from tester.load.statistics import Statistics
from tester.load.watcher import Watcher
from tests.etcd.inside.cluster import Cluster

_INSIDE = "ETCD_CHAOS_BENCHMARK_INSIDE"
_PUTS = Mix(weights=((OperationKind.PUT, 1.0),), keys=1000, value_size=100)


class Nowhere:
    """Records nothing: the control."""

    def write(self, record: HistoryRecord) -> None:
        """Drop ``record``."""


@dataclass(frozen=True)
class Figures:
    """Of one stretch."""

    rate: float
    cpu_us: float
    p50_ms: float


def over_h2(writer: HistoryWriter) -> Connect:
    """As the tester does it: an invocation is with the kernel before its request."""
    return partial(connect_h2, before_send=writer.flush)


async def stretch(
    cluster: Cluster, recorder: Recorder, clients: int, seconds: float, connect: Connect
) -> Figures:
    """Load for ``seconds`` after half a second of warming up."""
    clock, figures = RunClock(), Statistics()
    shared = Shared(recorder, clock, figures, count(1), asyncio.Event())
    shared.gate.set()
    channels = {endpoint.member: connect(endpoint) for endpoint in cluster.endpoints}
    members = list(channels)
    value_ids = count(1)
    tasks = []
    for number in range(clients):
        member = members[number % len(members)]
        client = Client(number, member, channels[member], 5.0, shared)
        source = OperationSource(_PUTS, "b/", Random(number), value_ids)  # noqa: S311 - a seed, no secret
        tasks.append(asyncio.create_task(client.run(source, Pacer(None))))
    await asyncio.sleep(0.5)
    began, cpu, done = clock.now(), time.process_time(), figures.ok
    await asyncio.sleep(seconds)
    ended, cpu, done = clock.now(), time.process_time() - cpu, figures.ok - done
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels.values():
        await channel.close()
    p50 = figures.window(began, ended).p50 or 0.0
    return Figures(done / ((ended - began) / 1e9), cpu / max(done, 1) * 1e6, p50 * 1e3)


async def measure(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    """All turns; medians."""
    cluster = Cluster(options.version, directory)
    cluster.start_all()
    monitor = ClusterMonitor(cluster.endpoints, RunClock(), EventBus())
    await monitor.start()
    taken: dict[str, list[Figures]] = {"bare": [], "recorded": [], "recorded and watched": [], "grpc": []}
    sizes: list[float] = []
    try:
        await monitor.wait_writes(30)
        for turn in range(options.turns):
            taken["bare"].append(
                await stretch(cluster, Nowhere(), options.clients, options.seconds, connect_h2)
            )
            path = directory / f"{turn}.jsonl"
            writer = HistoryWriter(path)
            figures = await stretch(cluster, writer, options.clients, options.seconds, over_h2(writer))
            await writer.close()
            taken["recorded"].append(figures)
            writer = HistoryWriter(directory / f"{turn}-grpc.jsonl")
            taken["grpc"].append(
                await stretch(cluster, writer, options.clients, options.seconds, connect_grpc)
            )
            await writer.close()
            operations = sum(isinstance(record, Invoke) for record in read_history(path))
            sizes.append(path.stat().st_size / operations)
            writer = HistoryWriter(directory / f"{turn}-watched.jsonl")
            health = monitor.view().health
            start = max(member.revision for member in health.values() if member is not None) + 1
            watchers = [
                Watcher(number, endpoint, writer, RunClock(), "b/", start)
                for number, endpoint in enumerate(cluster.endpoints)
            ]
            for watcher in watchers:
                await watcher.start()
            taken["recorded and watched"].append(
                await stretch(cluster, writer, options.clients, options.seconds, over_h2(writer))
            )
            for watcher in watchers:
                await watcher.stop()
            await writer.close()
    finally:
        await monitor.stop()
        cluster.stop_all()
    medians = {
        name: {
            "puts_per_second": round(statistics.median(f.rate for f in figures)),
            "cpu_us_per_operation": round(statistics.median(f.cpu_us for f in figures), 1),
            "p50_ms": round(statistics.median(f.p50_ms for f in figures), 2),
        }
        for name, figures in taken.items()
    }
    ratios = {
        control: [r.rate / c.rate for r, c in zip(taken["recorded"], taken[control], strict=True)]
        for control in ("bare", "grpc")
    }
    return {
        "version": options.version,
        "clients": options.clients,
        **medians,
        "recorded_to_bare": round(statistics.median(ratios["bare"]), 3),
        "recorded_to_grpc": round(statistics.median(ratios["grpc"]), 3),
        "history_bytes_per_operation": round(statistics.median(sizes)),
    }


def main() -> None:
    """Re-run inside a namespace, then measure there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", default="3.5.1")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if not os.environ.get(_INSIDE):
        os.environ[_INSIDE] = "1"
        argv = ["unshare", "--net", sys.executable, *sys.argv]
        os.execvp(argv[0], argv)  # noqa: S606 - an argv list, no shell
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607 - ip lies where the system has it
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(asyncio.run(measure(options, Path(directory))), indent=2))


if __name__ == "__main__":
    main()
