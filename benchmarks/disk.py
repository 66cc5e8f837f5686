"""What the disk layer costs: the same puts on the bare disk and on the layer, in one run, in turn.

    python -m benchmarks.disk [--version 3.5.30] [--clients 16] [--seconds 3] [--turns 3]

Starts one member at a time, as an agent does, in a network namespace of its own (needs root and unshare) and prints
one JSON object. ``layer_to_bare`` compares rates within the run; the member, the layer and the client share this
machine. ``inject_ms`` and ``heal_ms`` are those of slow-fsync, and contain the operations by which it is verified.
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
from pathlib import Path

from agent_service.audit import AuditLog
from agent_service.faults.manager import FaultManager
from agent_service.member import MemberControl
from agent_service.models import FaultRequest, SlowFsyncFault
from agent_service.supervisor import create_supervisor
from benchmarks.load import Bench, Figures, Nowhere, loaded
from tester.clock import RunClock
from tester.etcd.connect import connect_h2
from tester.etcd.endpoint import Endpoint
from tester.etcd.monitor import ClusterMonitor
from tester.events import EventBus
from tester.load.kinds import OperationKind
from tester.orchestration.paths import cache_dir
from tests.unit.member.settings import agent_settings, member_spec

_INSIDE = "ETCD_CHAOS_BENCHMARK_INSIDE"
_DELAY_SECONDS = 0.02


_ONE = (Endpoint("m1", "127.0.0.1", 2379),)
"""A cluster of one."""


async def measure(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    """All turns; medians."""
    settings = agent_settings(directory, etcd_root=cache_dir() / "etcd")
    member = MemberControl(settings, create_supervisor(settings))
    await member.adopt()
    faults = FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl"))
    await faults.adopt()
    bench = Bench(_ONE, (), OperationKind.PUT, options.clients, options.seconds)
    taken: dict[str, list[Figures]] = {"bare": [], "fuse": [], "fuse, syncs 20 ms slower": []}
    latencies: dict[str, list[float]] = {"inject": [], "heal": []}
    try:
        for turn in range(options.turns):
            for disk in ("bare", "fuse"):
                await member.start(member_spec(options.version, disk=disk))
                await _served()
                taken[disk].append(await loaded(bench, Nowhere(), connect_h2))
                if disk == "fuse":
                    spec = SlowFsyncFault(delay_seconds=_DELAY_SECONDS)
                    request = FaultRequest(id=f"f-{turn}", spec=spec, lease_seconds=600, reason="benchmark")
                    begun = time.perf_counter()
                    await faults.inject(request, "benchmark")
                    latencies["inject"].append(time.perf_counter() - begun)
                    slow = await loaded(bench, Nowhere(), connect_h2)
                    taken["fuse, syncs 20 ms slower"].append(slow)
                    begun = time.perf_counter()
                    await faults.heal(request.id, "benchmark")
                    latencies["heal"].append(time.perf_counter() - begun)
                await member.terminate()
    finally:
        await member.terminate()
        member.close()
    ratios = [fuse.rate / bare.rate for fuse, bare in zip(taken["fuse"], taken["bare"], strict=True)]
    return {
        "version": options.version,
        "clients": options.clients,
        **{name: _medians(figures) for name, figures in taken.items()},
        "layer_to_bare": round(statistics.median(ratios), 3),
        **{f"{name}_ms": round(statistics.median(times) * 1e3, 1) for name, times in latencies.items()},
    }


def _medians(figures: list[Figures]) -> dict[str, float]:
    return {
        "puts_per_second": round(statistics.median(f.rate for f in figures)),
        "p50_ms": round(statistics.median(f.p50_ms for f in figures), 2),
    }


async def _served() -> None:
    monitor = ClusterMonitor(_ONE, RunClock(), EventBus())
    await monitor.start()
    try:
        await monitor.wait_writes(30)
    finally:
        await monitor.stop()


def main() -> None:
    """Re-run inside a namespace, then measure there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", default="3.5.30")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if not os.environ.get(_INSIDE):
        os.environ[_INSIDE] = "1"
        argv = ["unshare", "--net", sys.executable, "-m", "benchmarks.disk", *sys.argv[1:]]
        os.execvp(argv[0], argv)  # noqa: S606 - an argv list, no shell
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607 - ip lies where the system has it
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(asyncio.run(measure(options, Path(directory))), indent=2))


if __name__ == "__main__":
    main()
