"""Faults of the network's quality on a real cluster: what they do, seen from inside, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from agent_client.errors import AgentRefusedError
from agent_service.models import FaultRequest, FaultState, NetworkFault, Peer
from tests.agent.hosts import PATIENCE_SECONDS, Fleet, fleet_of, inside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent_service.models import FaultStatus

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
]


@pytest.fixture
async def fleet(tmp_path: Path, newest_etcd: str) -> AsyncIterator[Fleet]:
    async with fleet_of(tmp_path, newest_etcd) as made:
        yield made


def fingerprint(fleet: Fleet, name: str) -> tuple[str, ...]:
    """All that a fault of this kind could leave on a host."""
    host = fleet.hosts[name]
    directory = host.agent.directory / "state" / "network"
    return (
        host.run("nft", "list", "ruleset"),
        host.run("iptables-nft-save"),
        host.run("ip6tables-nft-save"),
        host.run("tc", "qdisc", "show"),
        host.run("cat", "/proc/net/netfilter/nfnetlink_queue"),
        str(sorted(os.listdir(directory)) if directory.exists() else []),
    )


async def test_x(fleet: Fleet) -> None:
    before = fingerprint(fleet, "h1")
    print(before)
    agent = fleet.agents["h1"]
    print([c for c in (await agent.host()).capabilities if c.kind == "network"])
    spec = NetworkFault(
        peer_port=2380,
        peers=(Peer(address="10.209.0.2", port=2380), Peer(address="10.209.0.3", port=2380)),
        client_port=2379,
        delay_seconds=0.1,
        jitter_seconds=0.02,
        distribution="normal",
    )
    print(await agent.plan(spec))
    t = time.perf_counter()
    status = await agent.inject(FaultRequest(id="q", spec=spec, lease_seconds=60, reason=""))
    print("inject", time.perf_counter() - t, status)
    print(fingerprint(fleet, "h1"))
    await asyncio.sleep(3)
    t = time.perf_counter()
    status = await agent.heal("q")
    print("heal", time.perf_counter() - t, status)
    assert fingerprint(fleet, "h1") == before
    spec = NetworkFault(
        peer_port=2380,
        peers=(Peer(address="10.209.0.2", port=2380), Peer(address="10.209.0.3", port=2380)),
        rate_bits_per_second=1_000_000,
        direction="both",
    )
    t = time.perf_counter()
    status = await agent.inject(FaultRequest(id="q2", spec=spec, lease_seconds=60, reason=""))
    print("inject", time.perf_counter() - t, status)
    print(fingerprint(fleet, "h1"))
    await asyncio.sleep(1)
    t = time.perf_counter()
    status = await agent.heal("q2")
    print("heal", time.perf_counter() - t, status)
    assert fingerprint(fleet, "h1") == before
