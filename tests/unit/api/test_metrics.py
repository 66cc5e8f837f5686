"""The agent's metrics as Prometheus reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from agent_service.models import FaultRequest, KillFault

if TYPE_CHECKING:
    from tests.unit.api.conftest import World


async def scraped(world: World) -> dict[tuple[str, ...], float]:
    answer = await world.http.get("/v1/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_faults_come_and_go(world: World) -> None:
    assert (await scraped(world))["etcd_chaos_agent_active_faults",] == 0
    request = FaultRequest(id="f", spec=KillFault(), lease_seconds=15, reason="r")
    await world.agent.inject(request)
    seen = await scraped(world)
    assert seen["etcd_chaos_agent_faults", "kill", "injected"] == 1
    assert seen["etcd_chaos_agent_active_faults",] == 1
    await world.agent.heal("f")
    seen = await scraped(world)
    assert seen["etcd_chaos_agent_faults", "kill", "healed"] == 1
    assert seen["etcd_chaos_agent_active_faults",] == 0


async def test_member_agent_and_stop_are_there(world: World) -> None:
    seen = await scraped(world)
    states = {key[1]: value for key, value in seen.items() if key[0] == "etcd_chaos_agent_member_state"}
    assert sum(states.values()) == 1
    assert states[world.member.status().state.value] == 1
    assert seen["etcd_chaos_agent_memory_bytes", "agent"] > 0
    assert seen["etcd_chaos_agent_emergency_stop",] == 0
    await world.agent.emergency_stop("a test")
    assert (await scraped(world))["etcd_chaos_agent_emergency_stop",] == 1


async def test_scraping_changes_nothing(world: World) -> None:
    await scraped(world)
    assert world.audited() == []
