"""Faults of the network's quality on a real cluster: what they do, seen from inside, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_client.errors import AgentRefusedError
from agent_service.models import FaultRequest, FaultState, IsolateFault, NetworkFault, PartitionFault, Peer
from agent_service.processes import parse_stat
from agent_service.quality import lifeline
from tests.agent.hosts import PATIENCE_SECONDS, Fleet, TestHost, fleet_of, inside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_service.models import FaultSpec, FaultStatus

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
]

LATE_SECONDS = 0.4
"""Asked for; what is not late here takes a hundredth of it."""
TRIES = 3
BULK_PORT = 5000
BULK_BYTES = 512 * 1024
SLOW_RATE = 2_000_000
TIMED_OUT = 1.0


@pytest.fixture
async def fleet(tmp_path: Path, newest_etcd: str) -> AsyncIterator[Fleet]:
    async with fleet_of(tmp_path, newest_etcd) as made:
        yield made


def left_behind(host: TestHost) -> tuple[str, ...]:
    """All that a fault of this kind could leave on a host."""
    directory = host.agent.directory / "state" / "network"
    return (
        host.run("nft", "list", "ruleset"),
        re.sub("(?m)^#.*$", "", host.run("iptables-nft-save") + host.run("ip6tables-nft-save")),
        re.sub(r"direct_packets_stat \d+", "", host.run("tc", "qdisc", "show")),
        host.run("cat", "/proc/net/netfilter/nfnetlink_queue"),
        str(sorted(directory.iterdir()) if directory.exists() else []),
    )


def peer(fleet: Fleet, name: str, port: int = 2380) -> Peer:
    return Peer(address=fleet.hosts[name].host.address, port=port)


async def inject(
    fleet: Fleet, name: str, spec: FaultSpec, lease_seconds: float = 60.0, fault: str = "q"
) -> FaultStatus:
    async with fleet.hosts[name].agent.client() as agent:
        return await agent.inject(
            FaultRequest(id=fault, spec=spec, lease_seconds=lease_seconds, reason="test")
        )


async def heal(fleet: Fleet, name: str, fault: str = "q") -> FaultStatus:
    async with fleet.hosts[name].agent.client() as agent:
        status = await agent.heal(fault)
    assert status.state is FaultState.HEALED, status.evidence
    return status


async def seconds_to(source: TestHost, target: TestHost, port: int) -> float:
    """To open a connection; the middle of some tries."""

    def attempt() -> float:
        start = time.perf_counter()
        socket.create_connection((target.host.address, port), PATIENCE_SECONDS).close()
        return time.perf_counter() - start

    return statistics.median([await inside(source.namespace, attempt) for _ in range(TRIES)])


async def test_only_the_links_that_were_asked_for_are_late(fleet: Fleet) -> None:
    hit, near, far = fleet.hosts.values()
    before = left_behind(hit)
    spec = NetworkFault(
        peer_port=2380,
        peers=(peer(fleet, "h2"),),
        direction="in",
        delay_seconds=LATE_SECONDS,
        jitter_seconds=0.01,
        distribution="normal",
    )
    assert await seconds_to(near, hit, 2380) < LATE_SECONDS / 2, "the control"
    status = await inject(fleet, "h1", spec)
    assert "packet queue 60427 has its process; iptables (ip) hands 2 kinds" in status.evidence
    late = [await seconds_to(near, hit, 2380), await seconds_to(hit, near, 2380)]
    assert all(seconds > 0.9 * LATE_SECONDS for seconds in late)
    others = [(far, hit, 2380), (hit, far, 2380), (near, far, 2380), (near, hit, 2379)]
    ways_in = [(near, hit, 22), (near, hit, 9027)]
    for source, target, port in (*others, *ways_in):
        assert await seconds_to(source, target, port) < LATE_SECONDS / 2, (source.host, target.host, port)
    assert (
        re.search(r"^\d\d+ packets went through the queue; ", (await heal(fleet, "h1")).evidence) is not None
    )
    assert await seconds_to(near, hit, 2380) < LATE_SECONDS / 2
    assert left_behind(hit) == before

    await inject(fleet, "h1", spec, fault="q2")
    hit.run("iptables-nft", "-t", "mangle", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "ACCEPT")
    await heal(fleet, "h1", "q2")
    theirs = left_behind(hit)
    assert "-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT" in theirs[1], "rules of others stay"
    await inject(fleet, "h1", spec, fault="q3")
    await heal(fleet, "h1", "q3")
    assert left_behind(hit) == theirs
    await fleet.whole()


async def put_seconds(host: TestHost) -> float:
    """To have a write acknowledged by a member; the middle of some tries."""
    body = b'{"key": "cXVhbGl0eQ==", "value": "cQ=="}'
    head = f"POST /v3/kv/put HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    seen = []
    for _ in range(TRIES):
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection(host.host.address, 2379)
        writer.write(head + body)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        assert b'"revision"' in answer, answer
        writer.close()
        seen.append(time.perf_counter() - start)
    return statistics.median(seen)


async def test_every_write_waits_for_a_leader_that_hears_late(fleet: Fleet) -> None:
    leader = fleet.roles().leader
    assert leader is not None
    others = tuple(peer(fleet, name) for name in fleet.hosts if name != leader)
    late = NetworkFault(peer_port=2380, peers=others, direction="in", delay_seconds=LATE_SECONDS / 2)
    assert await put_seconds(fleet.hosts[leader]) < LATE_SECONDS / 4, "the control"
    await inject(fleet, leader, late)
    assert await put_seconds(fleet.hosts[leader]) > 0.9 * LATE_SECONDS / 2
    assert fleet.monitor.view().leader == leader, "it leads on"
    await heal(fleet, leader)
    assert await put_seconds(fleet.hosts[leader]) < LATE_SECONDS / 4

    await inject(fleet, leader, late.model_copy(update={"peers": others[:1]}), fault="q2")
    assert await put_seconds(fleet.hosts[leader]) < LATE_SECONDS / 4, "the other one is a majority with it"
    await heal(fleet, leader, "q2")

    await inject(fleet, leader, NetworkFault(client_port=2379, delay_seconds=LATE_SECONDS), fault="q3")
    assert await put_seconds(fleet.hosts[leader]) > 1.8 * LATE_SECONDS, "to connect and to ask"
    assert await seconds_to(fleet.hosts["h2"], fleet.hosts["h3"], 2380) < LATE_SECONDS / 2
    assert fleet.monitor.view().leader == leader, "its peers do not meet it"
    await heal(fleet, leader, "q3")
    await fleet.whole()


async def bulk_seconds(source: TestHost, target: TestHost) -> float:
    """To send a lump to ``BULK_PORT`` and hear that all of it has come."""
    listener = await inside(target.namespace, lambda: socket.create_server(("", BULK_PORT)))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            left = BULK_BYTES
            while left and (data := connection.recv(65536)):
                left -= len(data)
            connection.sendall(b"k")

    def send() -> float:
        start = time.perf_counter()
        with socket.create_connection((target.host.address, BULK_PORT), PATIENCE_SECONDS) as connection:
            connection.sendall(bytes(BULK_BYTES))
            connection.recv(1)
        return time.perf_counter() - start

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        return await inside(source.namespace, send)
    finally:
        await asyncio.to_thread(thread.join)
        listener.close()


async def test_a_rate_holds_both_ways_and_a_foreign_queueing_discipline_stays(fleet: Fleet) -> None:
    hit, other = fleet.hosts["h1"], fleet.hosts["h2"]
    before = left_behind(hit)
    slow = BULK_BYTES * 8 / SLOW_RATE
    assert await bulk_seconds(hit, other) < slow / 4, "the control"
    out = NetworkFault(peer_port=2380, peers=(peer(fleet, "h2", BULK_PORT),), rate_bits_per_second=SLOW_RATE)
    status = await inject(fleet, "h1", out)
    assert status.evidence == "bfifo treats 2 kinds of outgoing packets on eth0"
    assert await bulk_seconds(hit, other) > 0.8 * slow
    assert re.search(
        r"^\d\d+ packets \(\d{6,} bytes\) left by eth0, 0 dropped; ", (await heal(fleet, "h1")).evidence
    )
    assert await bulk_seconds(hit, other) < slow / 4
    assert left_behind(hit) == before

    # Seen from h2, the same lump comes in.
    incoming = NetworkFault(
        peer_port=2380,
        peers=(peer(fleet, "h1", BULK_PORT),),
        direction="in",
        rate_bits_per_second=SLOW_RATE,
    )
    listening_at_sender = await sent_from_bulk_port(hit, other)
    assert listening_at_sender < slow / 4, "the control"
    await inject(fleet, "h2", incoming)
    assert await sent_from_bulk_port(hit, other) > 0.8 * slow
    await heal(fleet, "h2")

    hit.run("tc", "qdisc", "add", "dev", "eth0", "root", "handle", "7:", "htb")
    theirs = left_behind(hit)
    with pytest.raises(AgentRefusedError, match=r"eth0 has .* somebody's own \(htb 7:\)") as caught:
        await inject(fleet, "h1", out, fault="q2")
    assert caught.value.remedy is not None
    assert "tc qdisc del dev eth0 root" in caught.value.remedy
    assert left_behind(hit) == theirs


async def sent_from_bulk_port(source: TestHost, target: TestHost) -> float:
    """As ``bulk_seconds``, the connection being opened by the target."""
    listener = await inside(source.namespace, lambda: socket.create_server(("", BULK_PORT)))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(bytes(BULK_BYTES))

    def receive() -> float:
        start, left = time.perf_counter(), BULK_BYTES
        with socket.create_connection((source.host.address, BULK_PORT), PATIENCE_SECONDS) as connection:
            while left and (data := connection.recv(65536)):
                left -= len(data)
        return time.perf_counter() - start

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        return await inside(target.namespace, receive)
    finally:
        await asyncio.to_thread(thread.join)
        listener.close()


def queue_process(host: TestHost, fault: str = "q") -> int | None:
    return lifeline.holder(host.agent.directory / "state" / "network" / f"{fault}.json")


def is_running(process: int) -> bool:
    """Nobody may have reaped it yet."""
    try:
        return parse_stat(Path(f"/proc/{process}/stat").read_text()).state not in "ZX"
    except FileNotFoundError:
        return False


async def test_it_outlives_the_agent_and_ends_with_its_lease(fleet: Fleet) -> None:
    hit, other = fleet.hosts["h1"], fleet.hosts["h2"]
    before = left_behind(hit)
    spec = NetworkFault(
        peer_port=2380,
        peers=(peer(fleet, "h2"), peer(fleet, "h3")),
        direction="in",
        delay_seconds=LATE_SECONDS,
    )
    await inject(fleet, "h1", spec)
    process = queue_process(hit)
    assert process is not None
    hit.agent.kill()
    assert await seconds_to(other, hit, 2380) > 0.9 * LATE_SECONDS
    hit.agent.start()
    assert queue_process(hit) == process, "it goes on as it was"
    async with hit.agent.client() as agent:
        (known,) = await agent.faults()
        assert known.state is FaultState.INJECTED
    await heal(fleet, "h1")
    assert left_behind(hit) == before

    await inject(fleet, "h1", spec, lease_seconds=1.0, fault="q2")
    hit.agent.kill()
    await asyncio.sleep(1.0)
    assert queue_process(hit, "q2") is not None, "the control: nobody is there to heal it"
    hit.agent.start()
    assert left_behind(hit) == before
    async with hit.agent.client() as agent:
        assert (await agent.fault("q2")).healed_by == "lease"
    await fleet.whole()


async def test_a_queue_that_dies_lets_packets_pass_and_one_that_hangs_is_ended(fleet: Fleet) -> None:
    hit, other = fleet.hosts["h1"], fleet.hosts["h2"]
    before = left_behind(hit)
    spec = NetworkFault(
        peer_port=2380,
        peers=(peer(fleet, "h2"), peer(fleet, "h3")),
        direction="in",
        delay_seconds=LATE_SECONDS,
    )
    await inject(fleet, "h1", spec)
    process = queue_process(hit)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    while queue_process(hit) is not None:  # noqa: ASYNC110 - the kernel's list
        await asyncio.sleep(0.01)
    assert await seconds_to(other, hit, 2380) < LATE_SECONDS / 2, "it fails open"
    status = await heal(fleet, "h1")
    assert status.healed_by == "somebody-else"
    assert "before: packet queue 60427 has no process" in status.evidence
    assert left_behind(hit) == before

    await inject(fleet, "h1", spec, fault="q2")
    process = queue_process(hit, "q2")
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    await heal(fleet, "h1", "q2")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while is_running(process):  # noqa: ASYNC110 - the kernel's list
            await asyncio.sleep(0.01)
    assert left_behind(hit) == before

    line = hit.agent.directory / "theirs.json"
    line.write_text('{"queue": 60427, "seed": 1, "qualities": {}}')
    command = lifeline.command(line)
    await inside(hit.namespace, lambda: subprocess.run(command, check=True))
    theirs = left_behind(hit)
    with pytest.raises(AgentRefusedError, match=r"had no effect: .*another process has packet queue 60427"):
        await inject(fleet, "h1", spec, fault="q3")
    assert left_behind(hit) == theirs
    await lifeline.end(line)
    await fleet.whole()


async def test_a_link_that_is_bad_may_be_cut_as_well(fleet: Fleet) -> None:
    hit, other, far = fleet.hosts.values()
    before = left_behind(hit)
    quality = NetworkFault(
        peer_port=2380,
        peers=(peer(fleet, "h2"), peer(fleet, "h3")),
        direction="in",
        delay_seconds=LATE_SECONDS / 4,
    )
    await inject(fleet, "h1", quality)
    cut = PartitionFault(peer_port=2380, peers=(peer(fleet, "h2"),), direction="both", action="reject")
    dropping = cut.model_copy(update={"action": "drop"})
    one_way = cut.model_copy(update={"direction": "in"})
    isolate = IsolateFault(peer_port=2380, peers=cut.peers, action="reject")
    for number, (spec, outward, inward) in enumerate(
        (
            (cut, "refused", "refused"),
            (one_way, "silent", "refused"),
            (dropping, "silent", "silent"),
            (isolate, "refused", "refused"),
        )
    ):
        await inject(fleet, "h1", spec, fault=f"cut-{number}")
        assert await answer(hit, other) == outward, spec
        assert await answer(other, hit) == inward, spec
        assert await answer(hit, far) == "open", "the control"
        await heal(fleet, "h1", f"cut-{number}")
        assert await answer(hit, other) == await answer(other, hit) == "open"
    await heal(fleet, "h1")
    assert left_behind(hit) == before
    await fleet.whole()


async def answer(source: TestHost, target: TestHost) -> str:
    def attempt() -> str:
        try:
            socket.create_connection((target.host.address, 2380), TIMED_OUT).close()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silent"
        return "open"

    return await inside(source.namespace, attempt)
