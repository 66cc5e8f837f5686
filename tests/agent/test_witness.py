"""The tester as witness that a fault leaves the ways into its host open: on real hosts, with the exemption broken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_service.faults.iptables import CHAIN
from agent_service.faults.quality import QUEUE
from agent_service.models import FaultState
from tester.clock import RunClock
from tester.errors import FaultIneffectiveError
from tester.events import EventBus, FaultInjected
from tester.faults import CaseFault, FaultTiming, Scene
from tests.agent.hosts import hosts_of
from tests.unit.scenario.cases import fault as fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_client import AgentClient
    from agent_service.models import FaultPlan, FaultRequest, FaultSpec, FaultStatus
    from tests.agent.hosts import TestHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own")

QUICK = FaultTiming(lease=3.0, heal=30.0, attempt=2.0, retry=0.1, witness=2.0)
NEW = "--syn"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, TestHost]]:
    with hosts_of(tmp_path, "3.5.16", 2) as made:
        yield made


class Broken:
    """An agent whose rules for a packet queue do not spare a port: the first of them takes its packets in, too."""

    def __init__(self, host: TestHost, agent: AgentClient, *sabotage: str) -> None:
        self._host = host
        self._agent = agent
        self._sabotage = sabotage

    async def inject(self, request: FaultRequest) -> FaultStatus:
        status = await self._agent.inject(request)
        queue = ("-j", "NFQUEUE", "--queue-num", str(QUEUE), "--queue-bypass")
        insert = ("iptables-nft", "-t", "mangle", "-I", CHAIN, "1", "!", "-i", "lo", "-p", "tcp")
        self._host.run(*insert, *self._sabotage, *queue)
        return status

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        return await self._agent.plan(spec)

    async def renew(self, fault_id: str, lease_seconds: float) -> FaultStatus:
        return await self._agent.renew(fault_id, lease_seconds)

    async def fault(self, fault_id: str) -> FaultStatus:
        return await self._agent.fault(fault_id)

    async def heal(self, fault_id: str) -> FaultStatus:
        return await self._agent.heal(fault_id)

    async def knock(self) -> None:
        await self._agent.knock()


@pytest.mark.parametrize(
    ("sabotage", "objection"),
    [
        ((), None),
        (("--dport", "9027", NEW), "its agent takes no new connection"),
        (("--dport", "9027"), "its agent takes no new connection"),
        (("--dport", "22", NEW), r"ssh \(10\.209\.0\.1 port 22\) no longer answers"),
    ],
    ids=["control", "agent-anew", "agent", "ssh"],
)
async def test_a_way_in_that_a_queue_swallows_is_an_error_and_the_host_is_healed(
    hosts: dict[str, TestHost], sabotage: tuple[str, ...], objection: str | None
) -> None:
    hit = hosts["h1"]
    before = hit.run("iptables-nft-save")
    bus, seen = EventBus(), []
    bus.subscribe(seen.append)
    members = [one.host for one in hosts.values()]
    section = fault_of("network", direction="in", loss="100%")
    async with hit.agent.client() as agent:
        agents = {"h1": Broken(hit, agent, *sabotage) if sabotage else agent}
        scene = Scene("run", 1, members, agents, bus, RunClock(), Path("inventory"), Path("scripts"))

        async def case() -> None:
            async with CaseFault(section, "c", scene, QUICK) as fault:
                await fault.inject(("h1",))
                assert CHAIN in hit.run("iptables-nft-save"), "the control: it is there"

        if objection is None:
            await case()
        else:
            with pytest.raises(FaultIneffectiveError, match=f"cut more than it should: {objection}"):
                await case()
        injected = [event for event in seen if isinstance(event, FaultInjected)]
        assert len(injected) == (1 if objection is None else 0)
        (status,) = await agent.faults()
        assert status.state is FaultState.HEALED
    assert rules(hit.run("iptables-nft-save")) == rules(before)


def rules(listing: str) -> list[str]:
    return [line for line in listing.splitlines() if line.startswith("-A")]
