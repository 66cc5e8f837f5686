from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tester.clock import RunClock
from tester.etcd.client import EtcdClient
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.monitor import ClusterMonitor
from tester.events import Event, EventBus
from tests.etcd.conftest import INSIDE
from tests.etcd.inside.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


# Runners are the same for every etcd, and cost half a minute: once is enough.
# 3.4 cuts plain-text streams off at once: nobody could tell who ended them.
collect_ignore = (
    ["test_runner.py", "test_streams.py"] if os.environ.get(INSIDE, "").startswith("3.4.") else []
)


@pytest.fixture(scope="session", autouse=True)
def loopback() -> None:
    ip = shutil.which("ip")
    assert ip is not None
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)


@dataclass
class Bench:
    """A cluster that accepts writes, and what watches over it."""

    cluster: Cluster
    clock: RunClock
    monitor: ClusterMonitor
    bus: EventBus
    events: list[Event]
    clients: dict[str, EtcdClient]


@asynccontextmanager
async def bench_of(cluster: Cluster) -> AsyncIterator[Bench]:
    events: list[Event] = []
    clock, bus = RunClock(), EventBus()
    bus.subscribe(events.append)
    monitor = ClusterMonitor(cluster.endpoints, clock, bus)
    clients = {e.member: EtcdClient(e, GrpcChannel(e)) for e in cluster.endpoints}
    try:
        cluster.start_all()
        await monitor.start()
        await monitor.wait_leader(30)
        await monitor.wait_writes(30)
        yield Bench(cluster, clock, monitor, bus, events, clients)
    finally:
        await monitor.stop()
        for client in clients.values():
            await client.close()
        cluster.stop_all()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(Cluster(os.environ[INSIDE], tmp_path)) as made:
        yield made
