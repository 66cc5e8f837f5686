"""What a recorded operation costs, beside what the same operation costs with less around it, in one run, in turn.

    python -m benchmarks.load [--version 3.5.30] [--clients 128] [--seconds 2] [--turns 5] [--operations put get]

Starts three members in a network namespace of its own (needs unshare) and prints one JSON object. ``recorded`` is the
load as the tester runs it: on uvloop, over its own HTTP/2, the history written. The controls: ``bare`` is the same with
nothing written, ``floor`` the same requests over sockets with nothing around them (``benchmarks.floor``), ``grpc`` is
recorded, over grpc.aio. With ``--watched``, there are watchers on all members beside a recorded one. CPU is per
operation, of the client process and of the three members; medians over the turns. Ratios are of one turn: absolute
figures depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psutil
from etcd3.etcdrpc import rpc_pb2 as pb

from benchmarks import floor
from tester import loop
from tester.clock import RunClock
from tester.etcd.channel import Method
from tester.etcd.connect import connect_h2
from tester.etcd.monitor import ClusterMonitor
from tester.events import EventBus
from tester.history.reader import read_history
from tester.history.records import HistoryRecord, Invoke
from tester.history.writer import HistoryWriter, Recorder
from tester.load.channels import channels_of
from tester.load.client import Client, Shared
from tester.load.kinds import OperationKind
from tester.load.operations import Mix, OperationSource
from tester.load.pacer import Pacer
from tester.load.statistics import Statistics
from tester.load.watcher import Watcher
from tests.etcd.inside.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from tester.etcd.channel import Connect
    from tester.etcd.endpoint import Endpoint

_INSIDE = "ETCD_CHAOS_BENCHMARK_INSIDE"
_KEYS = 1000
_VALUE_BYTES = 100
_WARM_UP_SECONDS = 0.5


class Nowhere:
    """Records nothing: the control."""

    def write(self, record: HistoryRecord) -> None:
        """Drop ``record``."""


@dataclass(frozen=True)
class Figures:
    """Of one stretch."""

    rate: float
    cpu_us: float
    members_us: float
    p50_ms: float
    bytes_each: float = 0.0
    """Of history, per operation."""


@dataclass(frozen=True)
class Bench:
    """What all stretches of an operation have in common."""

    endpoints: Sequence[Endpoint]
    members: Sequence[int]
    """Their processes."""
    operation: OperationKind
    clients: int
    seconds: float
    windows: int = 1
    """So many times ``seconds``; CPU is that of the cheapest."""

    def members_cpu(self) -> float:
        """Seconds of processor that the members have used."""
        times = [psutil.Process(pid).cpu_times() for pid in self.members]
        return sum(one.user + one.system for one in times)

    async def measure(
        self, clients: list[Coroutine[None, None, None]], done: Callable[[], int]
    ) -> tuple[float, float, float]:
        """Rate, and CPU per operation of this process and of members, while the clients run."""
        gc.collect()  # what the stretch before has left is no cost of this one
        tasks = [asyncio.create_task(client) for client in clients]
        await asyncio.sleep(_WARM_UP_SECONDS)
        looks = [(time.perf_counter(), time.process_time(), self.members_cpu(), done())]
        for _ in range(self.windows):
            await asyncio.sleep(self.seconds)
            looks.append((time.perf_counter(), time.process_time(), self.members_cpu(), done()))
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise RuntimeError(f"a client ended early: {result!r}")  # noqa: TRY004 - no matter of types
        elapsed, _, members, operations = (b - a for a, b in zip(looks[0], looks[-1], strict=True))
        cpu = min((b[1] - a[1]) / (b[3] - a[3]) for a, b in pairwise(looks) if b[3] > a[3])
        return operations / elapsed, cpu * 1e6, members / operations * 1e6


async def loaded(bench: Bench, recorder: Recorder, connect: Connect) -> Figures:
    """A load as the tester's."""
    clock, figures = RunClock(), Statistics()
    shared = Shared(recorder, clock, figures, count(1), asyncio.Event())
    shared.gate.set()
    channels = {endpoint.member: connect(endpoint) for endpoint in bench.endpoints}
    members = list(channels)
    mix = Mix(weights=((bench.operation, 1.0),), keys=_KEYS, value_size=_VALUE_BYTES)
    value_ids = count(1)
    clients = []
    for number in range(bench.clients):
        member = members[number % len(members)]
        client = Client(number, member, channels[member], 5.0, shared)
        source = OperationSource(mix, "b/", Random(number), value_ids, count(1))  # noqa: S311 - a seed, no secret
        clients.append(client.run(source, Pacer(None)))
    measured = await bench.measure(clients, lambda: figures.ok)
    for channel in channels.values():
        await channel.close()
    return Figures(*measured, (figures.window(0, clock.now()).p50 or 0.0) * 1e3)


async def floored(bench: Bench) -> Figures:
    """The same requests, serialized and parsed, and their times kept in memory."""
    connections = [await floor.connect(endpoint) for endpoint in bench.endpoints]
    await asyncio.sleep(0.1)
    taken: list[tuple[int, int, int, int, bytes]] = []
    value = b"v" * _VALUE_BYTES

    async def client(number: int) -> None:
        connection, random = connections[number % len(connections)], Random(number).random  # noqa: S311 - a seed
        while True:
            key = b"b/k%08d" % int(random() * _KEYS)
            began = time.monotonic_ns()
            if bench.operation is OperationKind.PUT:
                request = pb.PutRequest(key=key, value=value).SerializeToString()
                put = pb.PutResponse.FromString(await connection.call(Method.PUT, request))
                revision = put.header.revision
            else:
                request = pb.RangeRequest(key=key).SerializeToString()
                found = pb.RangeResponse.FromString(await connection.call(Method.RANGE, request))
                revision = found.header.revision
            taken.append((number, began, time.monotonic_ns(), revision, key))

    measured = await bench.measure([client(number) for number in range(bench.clients)], lambda: len(taken))
    for connection in connections:
        connection.close()
    return Figures(*measured, statistics.median(ended - began for _, began, ended, _, _ in taken) / 1e6)


async def recorded(
    directory: Path, bench: Bench, *, over_grpc: bool = False, watched: bool = False
) -> Figures:
    """With a history, which is removed again."""
    path = directory / "history.jsonl"
    writer = HistoryWriter(path)
    # As the tester does it: an invocation is with the kernel before its request.
    connect = channels_of(writer, over_grpc=over_grpc)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(writer.close)
        if watched:
            for number, endpoint in enumerate(bench.endpoints):
                watcher = Watcher(number, endpoint, writer, RunClock(), "b/", await _revision(bench) + 1)
                await watcher.start()
                stack.push_async_callback(watcher.stop)
        figures = await loaded(bench, writer, connect)
    operations = sum(isinstance(record, Invoke) for record in read_history(path))
    size = path.stat().st_size
    path.unlink()
    return replace(figures, bytes_each=size / operations)


async def _revision(bench: Bench) -> int:
    """Of the cluster, by a write."""
    channel = connect_h2(bench.endpoints[0])
    try:
        request = pb.PutRequest(key=b"a", value=b"1:").SerializeToString()
        answer = pb.PutResponse.FromString(await channel.call(Method.PUT, request, 5.0))
        return int(answer.header.revision)
    finally:
        await channel.close()


async def _wait_writes(cluster: Cluster) -> None:
    monitor = ClusterMonitor(cluster.endpoints, RunClock(), EventBus())
    await monitor.start()
    try:
        await monitor.wait_writes(30)
    finally:
        await monitor.stop()


async def measure(bench: Bench, directory: Path, turns: int, *, watched: bool) -> dict[str, object]:
    """All ways in turn; medians, and ratios turn by turn."""
    ways: dict[str, Callable[[Bench], Awaitable[Figures]]] = {
        "floor": floored,
        "bare": lambda bench: loaded(bench, Nowhere(), connect_h2),
        "recorded": partial(recorded, directory),
        "grpc": partial(recorded, directory, over_grpc=True),
    }
    if watched:
        ways["recorded and watched"] = partial(recorded, directory, watched=True)
    taken: dict[str, list[Figures]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            taken[name].append(await way(bench))

    def ratio(field: str, one: str, other: str) -> float:
        pairs = zip(taken[one], taken[other], strict=True)
        return round(float(statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)), 2)

    found: dict[str, object] = {
        name: {
            "per_second": round(statistics.median(f.rate for f in figures)),
            "cpu_us": round(statistics.median(f.cpu_us for f in figures), 1),
            "members_cpu_us": round(statistics.median(f.members_us for f in figures), 1),
            "p50_ms": round(statistics.median(f.p50_ms for f in figures), 2),
        }
        for name, figures in taken.items()
    }
    return found | {
        "rate_recorded_to_bare": ratio("rate", "recorded", "bare"),
        "rate_recorded_to_grpc": ratio("rate", "recorded", "grpc"),
        "cpu_recorded_to_floor": ratio("cpu_us", "recorded", "floor"),
        "cpu_grpc_to_recorded": ratio("cpu_us", "grpc", "recorded"),
        "history_bytes_per_operation": round(statistics.median(f.bytes_each for f in taken["recorded"])),
    }


async def bench_all(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    """Every operation asked for."""
    cluster = Cluster(options.version, directory)
    cluster.start_all()
    found: dict[str, object] = {"version": options.version, "clients": options.clients}
    try:
        await _wait_writes(cluster)
        for operation in options.operations:
            members = [process.pid for process in cluster.processes.values()]
            kind = OperationKind(operation)
            bench = Bench(cluster.endpoints, members, kind, options.clients, options.seconds)
            found[operation] = await measure(bench, directory, options.turns, watched=options.watched)
    finally:
        cluster.stop_all()
    return found


def main() -> None:
    """Re-run inside a namespace, then measure there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", default="3.5.30")
    parser.add_argument("--clients", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--operations", nargs="+", default=["put", "get"], choices=["put", "get"])
    parser.add_argument("--watched", action="store_true")
    options = parser.parse_args()
    if not os.environ.get(_INSIDE):
        os.environ[_INSIDE] = "1"
        argv = ["unshare", "--net", sys.executable, "-m", "benchmarks.load", *sys.argv[1:]]
        os.execvp(argv[0], argv)  # noqa: S606 - an argv list, no shell
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607 - ip lies where the system has it
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(loop.run(bench_all(options, Path(directory))), indent=2))


if __name__ == "__main__":
    main()
