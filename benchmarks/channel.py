"""What a unary call costs: our HTTP/2 channel against grpc.aio, in one run, in turn.

    python benchmarks/channel.py [--version 3.5.1] [--clients 32 128] [--seconds 2] [--turns 3] [--uvloop]

Starts three members in a network namespace of its own (needs unshare) and prints one JSON object. Requests
are serialized beforehand and answers not parsed: the figures are the channel's own. CPU is that of the client
process, per call; medians over the turns. Rates depend on who else uses the machine, ratios within the run
less so.
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
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

import uvloop
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Channel, Connect, Method
from tester.etcd.errors import RpcError
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.h2 import H2Channel
from tests.etcd.inside.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

_INSIDE = "ETCD_CHAOS_BENCHMARK_INSIDE"
_KEYS = 1000
_REQUESTS = {
    "put": (
        Method.PUT,
        [pb.PutRequest(key=b"b/%04d" % n, value=b"v" * 100).SerializeToString() for n in range(_KEYS)],
    ),
    "get": (Method.RANGE, [pb.RangeRequest(key=b"b/%04d" % n).SerializeToString() for n in range(_KEYS)]),
}
_CHANNELS: dict[str, Connect] = {"h2": H2Channel, "grpc.aio": GrpcChannel}


@dataclass(frozen=True)
class Figures:
    """Of one stretch."""

    rate: float
    cpu_us: float
    p50_ms: float


async def stretch(
    cluster: Cluster, connect: Connect, operation: str, clients: int, seconds: float
) -> Figures:
    """Closed loop over all members for ``seconds``, after half a second of warming up."""
    channels = [connect(endpoint) for endpoint in cluster.endpoints]
    method, requests = _REQUESTS[operation]
    latencies: list[int] = []

    async def client(number: int) -> None:
        channel, at = channels[number % len(channels)], number * 31
        while True:
            at = (at + 7) % _KEYS
            began = time.perf_counter_ns()
            await channel.call(method, requests[at], 5.0)
            latencies.append(time.perf_counter_ns() - began)

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    await asyncio.sleep(0.5)
    latencies.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    elapsed, cpu, done = time.perf_counter() - began, time.process_time() - cpu, sorted(latencies)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(result, asyncio.CancelledError):
            raise RuntimeError(f"a client ended early: {result!r}")  # noqa: TRY004 - no matter of types
    for channel in channels:
        await channel.close()
    return Figures(len(done) / elapsed, cpu / len(done) * 1e6, done[len(done) // 2] / 1e6)


async def wait_serving(channel: Channel) -> None:
    """Until a write is accepted, at most 30 s."""
    async with asyncio.timeout(30):
        while True:
            try:
                await channel.call(Method.PUT, _REQUESTS["put"][1][0], 1.0)
            except RpcError:
                await asyncio.sleep(0.1)
            else:
                return


async def measure(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    """All turns, the channels in turn; medians."""
    cluster = Cluster(options.version, directory)
    cluster.start_all()
    found: dict[str, object] = {"version": options.version, "uvloop": options.uvloop}
    try:
        for endpoint in cluster.endpoints:
            channel = H2Channel(endpoint)
            await wait_serving(channel)
            await channel.close()
        for operation in _REQUESTS:
            for clients in options.clients:
                taken: dict[str, list[Figures]] = {name: [] for name in _CHANNELS}
                for _ in range(options.turns):
                    for name, connect in _CHANNELS.items():
                        taken[name].append(
                            await stretch(cluster, connect, operation, clients, options.seconds)
                        )
                found[f"{operation}, {clients} clients"] = summary(taken)
    finally:
        cluster.stop_all()
    return found


def summary(taken: dict[str, list[Figures]]) -> dict[str, object]:
    """Medians by channel, and the ratio turn by turn."""
    medians: dict[str, object] = {
        name: {
            "calls_per_second": round(statistics.median(f.rate for f in figures)),
            "cpu_us_per_call": round(statistics.median(f.cpu_us for f in figures), 1),
            "p50_ms": round(statistics.median(f.p50_ms for f in figures), 2),
        }
        for name, figures in taken.items()
    }
    pairs = list(zip(taken["h2"], taken["grpc.aio"], strict=True))
    medians["rate_h2_to_grpc"] = round(statistics.median(h.rate / g.rate for h, g in pairs), 2)
    medians["cpu_grpc_to_h2"] = round(statistics.median(g.cpu_us / h.cpu_us for h, g in pairs), 2)
    return medians


def main(arguments: Sequence[str]) -> None:
    """Re-run inside a namespace, then measure there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", default="3.5.1")
    parser.add_argument("--clients", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--uvloop", action="store_true", help="run both on uvloop")
    options = parser.parse_args(arguments)
    if _INSIDE not in os.environ:
        unshare = (
            ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
        )
        again = [*unshare, sys.executable, __file__, *arguments]
        raise SystemExit(subprocess.run(again, env={**os.environ, _INSIDE: "1"}, check=False).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607 - wherever the system has it
    with tempfile.TemporaryDirectory() as directory:
        job = measure(options, Path(directory))
        factory = uvloop.new_event_loop if options.uvloop else None
        with asyncio.Runner(loop_factory=factory) as runner:
            sys.stdout.write(json.dumps(runner.run(job), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
