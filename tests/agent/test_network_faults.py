"""Every fault of the network on a real cluster: what it does, seen from inside, and that nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from typing import TYPE_CHECKING

import pytest

from agent_client.errors import AgentRefusedError
from agent_service.models import FaultRequest, KillFault
from tester.errors import FaultIneffectiveError
from tester.partitions import resolve_cuts
from tester.scenario.faults import FaultSection, PartitionPreset, PartitionSection
from tests.agent.hosts import PATIENCE_SECONDS, Fleet, TestHost, fleet_of, inside
from tests.unit.scenario.cases import fault as fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tester.faults import CaseFault

SILENCE_SECONDS = 0.7
"""A first packet that is lost is sent again after a second; what answers here answers within milliseconds."""

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
]

COUNTERS = """\
table inet probe {{
  chain seen {{
    type filter hook input priority 0; policy accept;
    ip saddr {peer} tcp dport 2380 counter
    ip saddr {peer} tcp sport 2380 counter
  }}
}}
"""


@pytest.fixture
async def fleet(tmp_path: Path, newest_etcd: str) -> AsyncIterator[Fleet]:
    async with fleet_of(tmp_path, newest_etcd) as made:
        yield made


async def connects(source: TestHost, target: TestHost, port: int) -> str:
    """``open``, ``refused`` or ``silent``."""

    def attempt() -> str:
        try:
            socket.create_connection((target.host.address, port), SILENCE_SECONDS).close()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silent"
        return "open"

    return await inside(source.namespace, attempt)


async def links(fleet: Fleet) -> dict[tuple[str, str], str]:
    """Whether each host can open a connection to each other's peer port."""
    pairs = [(a, b) for a in fleet.hosts for b in fleet.hosts if a != b]
    answers = await asyncio.gather(*(connects(fleet.hosts[a], fleet.hosts[b], 2380) for a, b in pairs))
    return dict(zip(pairs, answers, strict=True))


async def ways_in_are_open(fleet: Fleet) -> None:
    """ssh and the agent of every host, from outside."""
    for host in fleet.hosts.values():
        for port in (22, 9027):
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(host.host.address, port), PATIENCE_SECONDS
            )
            writer.close()
    for agent in fleet.agents.values():
        await agent.faults()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the monitor polls
            await asyncio.sleep(0.05)


async def inject_partition(fleet: Fleet, fault: CaseFault, preset: PartitionPreset) -> str:
    roles = fleet.roles()
    assert roles.leader is not None
    cuts = resolve_cuts(PartitionSection(partition=preset), roles, random.Random(1))
    await fault.inject(tuple(cuts), cuts=cuts)
    return roles.leader


def partition(preset: PartitionPreset) -> FaultSection:
    return PartitionSection(partition=preset)


async def test_a_leader_alone_loses_the_lead_and_gets_its_peers_back(fleet: Fleet) -> None:
    before = fleet.ruleset()
    assert set((await links(fleet)).values()) == {"open"}, "the control"
    async with fleet.fault(partition(PartitionPreset.LEADER_ALONE)) as fault:
        leader = await inject_partition(fleet, fault, PartitionPreset.LEADER_ALONE)
        assert fault.targets == (leader,)
        seen = await links(fleet)
        assert {pair for pair, answer in seen.items() if answer == "silent"} == {
            pair for pair in seen if leader in pair
        }
        await ways_in_are_open(fleet)
        await until(lambda: fleet.monitor.view().leader not in (None, leader))
        others = [name for name in fleet.hosts if name != leader]
        await fleet.monitor.wait_writes(PATIENCE_SECONDS, others)
        await until(lambda: _leader_id(fleet, leader) == 0)
        await fault.heal()
    assert set((await links(fleet)).values()) == {"open"}
    await fleet.whole()
    assert fleet.ruleset() == before


def _leader_id(fleet: Fleet, member: str) -> int | None:
    health = fleet.monitor.view().health[member]
    return None if health is None else health.leader_id


async def test_a_minority_is_cut_from_the_rest(fleet: Fleet) -> None:
    async with fleet.fault(partition(PartitionPreset.MINORITY_MAJORITY)) as fault:
        await inject_partition(fleet, fault, PartitionPreset.MINORITY_MAJORITY)
        (alone,) = fault.targets
        assert {pair for pair, answer in (await links(fleet)).items() if answer == "open"} == {
            (a, b) for a in fleet.hosts for b in fleet.hosts if a != b and alone not in (a, b)
        }
        await fault.heal()
    await fleet.whole()
    assert set(fleet.ruleset().values()) == {""}


async def test_a_bridge_sees_both_sides(fleet: Fleet) -> None:
    async with fleet.fault(partition(PartitionPreset.BRIDGE)) as fault:
        await inject_partition(fleet, fault, PartitionPreset.BRIDGE)
        seen = await links(fleet)
        silent = {pair for pair, answer in seen.items() if answer == "silent"}
        assert len(silent) == 2, "one link, from either end"
        assert len({frozenset(pair) for pair in silent}) == 1
        await fleet.monitor.wait_leader(PATIENCE_SECONDS)
        await fault.heal()
    await fleet.whole()


@pytest.mark.parametrize(
    ("preset", "deaf"),
    [(PartitionPreset.LEADER_TO_FOLLOWERS, "followers"), (PartitionPreset.TO_LEADER, "leader")],
)
async def test_one_way_is_one_way(fleet: Fleet, preset: PartitionPreset, deaf: str) -> None:
    leader = fleet.roles().leader
    follower = next(name for name in fleet.hosts if name != leader)
    assert leader is not None
    counting = {leader: follower, follower: leader}
    for name, peer in counting.items():
        rules = COUNTERS.format(peer=fleet.hosts[peer].host.address)
        fleet.hosts[name].run("nft", "-f", "-", stdin=rules)
    at = dict.fromkeys(counting, 0)

    def heard(name: str) -> int:
        """Packets of the other one that have arrived since."""
        now = packets(fleet.hosts[name])
        new, at[name] = now - at[name], now
        return new

    await until(lambda: heard(leader) > 0 and heard(follower) > 0)
    async with fleet.fault(partition(preset)) as fault:
        await inject_partition(fleet, fault, preset)
        assert fault.targets == (leader,)
        unhearing, hearing = (leader, follower) if deaf == "leader" else (follower, leader)
        heard(unhearing)
        heard(hearing)
        await until(lambda: heard(hearing) > 0)
        await asyncio.sleep(SILENCE_SECONDS)
        assert heard(unhearing) == 0
        await ways_in_are_open(fleet)
        await until(lambda: fleet.monitor.view().leader not in (None, leader))
        assert heard(unhearing) == 0
        await fault.heal()
    await until(lambda: heard(unhearing) > 0)
    await fleet.whole()


def packets(host: TestHost) -> int:
    listed = json.loads(host.run("nft", "-j", "list", "table", "inet", "probe"))["nftables"]
    rules = [item["rule"]["expr"] for item in listed if "rule" in item]
    return sum(part["counter"]["packets"] for expr in rules for part in expr if "counter" in part)


@pytest.mark.parametrize(("action", "answer"), [("drop", "silent"), ("reject", "refused")])
async def test_a_client_port_is_blocked_and_the_member_stays(fleet: Fleet, action: str, answer: str) -> None:
    section = fault_of("client-port", action=action)
    roles = fleet.roles()
    leader, other = roles.leader, next(name for name in fleet.hosts if name != roles.leader)
    assert leader is not None
    standing_reader, standing = await asyncio.open_connection(fleet.hosts[leader].host.address, 2379)
    async with fleet.fault(section) as fault:
        await fault.inject((leader,))
        assert await connects(fleet.hosts[other], fleet.hosts[leader], 2379) == answer
        assert await connects(fleet.hosts[leader], fleet.hosts[other], 2379) == "open"
        assert set((await links(fleet)).values()) == {"open"}
        await ways_in_are_open(fleet)
        standing.write(b"PRI")
        if action == "reject":
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(standing_reader.read(), PATIENCE_SECONDS)
        others = [name for name in fleet.hosts if name != leader]
        await fleet.monitor.wait_writes(PATIENCE_SECONDS, others)
        assert fleet.monitor.view().leader == leader, "it leads on"
        await fault.heal()
    standing.close()
    await fleet.whole()
    assert set(fleet.ruleset().values()) == {""}


@pytest.mark.parametrize(("action", "answer"), [("drop", "silent"), ("reject", "refused")])
async def test_a_peer_port_is_blocked_from_outside_alone(fleet: Fleet, action: str, answer: str) -> None:
    section = fault_of("peer-port", action=action)
    roles = fleet.roles()
    follower = next(name for name in fleet.hosts if name != roles.leader)
    async with fleet.fault(section) as fault:
        await fault.inject((follower,))
        seen = await links(fleet)
        assert {pair for pair, one in seen.items() if one == answer} == {
            pair for pair in seen if pair[1] == follower
        }
        assert {one for pair, one in seen.items() if pair[1] != follower} == {"open"}, "it reaches them"
        await ways_in_are_open(fleet)
        await fault.heal()
    assert set((await links(fleet)).values()) == {"open"}
    await fleet.whole()
    assert set(fleet.ruleset().values()) == {""}


async def test_an_emergency_stop_frees_every_host_and_holds_until_it_is_cleared(fleet: Fleet) -> None:
    hit = fleet.roles().leader
    assert hit is not None

    async def case(name: str, *, stop: bool = False) -> None:
        async with fleet.fault(fault_of("isolate"), name) as fault:
            await fault.inject((hit,))
            assert "etcd_chaos_" in fleet.ruleset()[hit]
            if stop:
                await asyncio.gather(*(agent.emergency_stop("test") for agent in fleet.agents.values()))
                assert set(fleet.ruleset().values()) == {""}

    with pytest.raises(FaultIneffectiveError, match="emergency-stop"):
        await case("one", stop=True)
    await fleet.whole()
    fleet.hosts[hit].agent.kill()
    fleet.hosts[hit].agent.start()
    async with fleet.hosts[hit].agent.client() as agent:
        assert (await agent.emergency()).reason == "test", "it outlives the agent"
    for member in fleet.hosts:
        async with fleet.hosts[member].agent.client() as agent:
            request = FaultRequest(id="two", spec=KillFault(), lease_seconds=60, reason="")
            with pytest.raises(AgentRefusedError, match="emergency stop by tester: test"):
                await agent.inject(request)
            await agent.clear_emergency_stop()
    fleet.agents[hit] = fleet.hosts[hit].agent.client()
    async with fleet.agents[hit]:
        await case("three")
        await fleet.whole()
        assert set(fleet.ruleset().values()) == {""}
