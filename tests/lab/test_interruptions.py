"""A run that is not allowed to end: whatever ends it, the hosts come to rest, and what was found is kept."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode
from tester.events import FaultInjected, Notice, Phase
from tester.results import CaseState
from tests.lab.rig import case, scenario, until_quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.lab.rig import Ended, Rig

LEASE_SECONDS = 15.0
DROP_INS = "/run/systemd/system/etcd-chaos-agent.service.d /run/systemd/system/etcd-chaos-heal.service.d"
KILL_AGENT_FOR_GOOD = f"""
set -- {DROP_INS}
mkdir -p "$@"
printf '[Service]\\nRestart=no\\nExecStopPost=\\n' > "$1/dead.conf"
printf '[Service]\\nExecStart=\\nExecStart=/bin/true\\n' > "$2/dead.conf"
systemctl daemon-reload
systemctl kill --signal=KILL --kill-whom=main etcd-chaos-agent.service
"""


def artefacts_are_kept(ended: Ended) -> None:
    directory = ended.directory
    assert directory.scenario.is_file()
    assert directory.read_info() is not None
    (one,) = directory.rounds()
    assert one.history.stat().st_size > 0
    assert one.read_result() == ended.result.rounds[0]
    assert list(one.ansible.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_run_in_order(rig: Rig, tmp_path: Path, number: signal.Signals) -> None:
    written = scenario(tmp_path, case("pause", "leader", hold="60s"), case("kill", "follower"))
    async with rig.running(written) as running:
        hit = await running.held()
        running.process.send_signal(number)
        await running.phase(Phase.CLEANUP)
        running.process.send_signal(signal.SIGINT)  # impatience changes nothing
        ended = await running.end()
    assert ended.code == ExitCode.INTERRUPTED, ended.said
    assert await rig.dirt() == {}
    assert any(number.name in event.text for event in ended.of(Notice))
    assert any("still healing" in event.text for event in ended.of(Notice))
    result = ended.result
    assert (result.exit_code, result.reason) == (ExitCode.INTERRUPTED, "round 1: interrupted")
    under_way, later = result.rounds[0].cases
    assert (under_way.state, under_way.targets) == (CaseState.SKIPPED, (hit,))
    assert under_way.reason == "interrupted while it ran"
    assert under_way.held_seconds is not None
    assert (later.state, later.reason) == (CaseState.SKIPPED, "interrupted before it")
    artefacts_are_kept(ended)
    for host in rig.hosts:
        assert (ended.directory.rounds()[0].member(host) / "member.log").stat().st_size > 0


async def test_a_tester_that_was_killed_is_not_needed_to_heal(rig: Rig, tmp_path: Path) -> None:
    """Agents heal by lease; a host whose agent is dead as well, and its emergency unit with it, over ssh."""
    dead, *alive = rig.hosts
    written = scenario(tmp_path, case("isolate", "all", hold="60s", allow_quorum_loss=True))
    async with rig.running(written) as running:
        await running.held()
        looks = await rig.looks()
        running.process.kill()
        ended = await running.end()
    assert ended.code == -signal.SIGKILL
    assert all(look.tables and look.active for look in looks.values())
    assert ended.directory.rounds()[0].history.stat().st_size > 0

    async def faults() -> list[list[str] | dict[str, str]]:
        found = (await rig.looks(alive)).values()
        return [left for look in found for left in (look.tables, look.active) if left]

    async with rig.broken(dead, KILL_AGENT_FOR_GOOD, f"rm -r {DROP_INS}; systemctl daemon-reload"):
        await until_quiet(faults, seconds=LEASE_SECONDS * 4)
        left = await rig.look(dead)
        assert (left.tables, left.active) == (looks[dead].tables, looks[dead].active)
        healed = await rig.cli("heal", "-i", rig.inventory)
    assert healed.code == ExitCode.VALID, healed
    assert healed.out.splitlines() == [
        f"{dead}: healed over ssh, its agent did not answer",
        *(f"{host}: nothing to heal" for host in alive),
    ]
    after = await rig.looks()
    for host, look in after.items():
        by = "heal-command" if host == dead else "lease"
        assert [look.healed[fault] for fault in looks[host].active] == [by]
        assert look.members == looks[host].members, "the lease is a fault's, not a member's"
    again = await rig.cli("heal", "-i", rig.inventory)
    assert (again.code, again.out.count(": nothing to heal")) == (ExitCode.VALID, 3)
    # What is left of the round itself, the next one's provision removes.
    assert (await rig.play("provision")).changed == dict.fromkeys(rig.hosts, 1)
    assert await rig.dirt() == {}


async def test_the_host_with_the_fault_is_switched_off(rig: Rig, tmp_path: Path) -> None:
    written = scenario(tmp_path, case("kill", "leader", hold="5s"), case("pause", "follower"))
    async with rig.running(written) as running:
        hit = await running.held()
        async with switched_off(rig, hit):
            ended = await running.end()
            others = [name for name in rig.hosts if name != hit]
            assert await rig.dirt(others) == {}
    assert ended.code == ExitCode.UNHEALED, ended.said
    first, later = ended.result.rounds[0].cases
    assert (first.state, later.state) == (CaseState.ERROR, CaseState.SKIPPED)
    assert f"host {hit}: fault" in first.reason
    assert "could not be healed" in first.reason
    assert all(other not in first.reason for other in others)
    assert f"etcd-chaos heal --inventory {rig.inventory}" in str(ended.result.rounds[0].remedy)
    artefacts_are_kept(ended)

    async def unhealed() -> dict[str, str]:
        return (await rig.look(hit)).active

    await until_quiet(unhealed)
    fault = ended.of(FaultInjected)[0].fault_id
    assert (await rig.look(hit)).healed[fault] == "agent-start", "by the agent, which came up by itself"
    healed = await rig.cli("heal", "-i", rig.inventory)
    assert (healed.code, healed.out.count("nothing to heal")) == (ExitCode.VALID, 3)
    assert (await rig.play("provision")).changed[hit] == 1
    assert await rig.dirt() == {}


async def test_another_host_is_switched_off(rig: Rig, tmp_path: Path) -> None:
    """That the cluster is not whole again is then no verdict on etcd."""
    written = scenario(
        tmp_path, case("pause", "leader", hold="5s"), case("kill", "follower"), limits={"recovery": "4s"}
    )
    async with rig.running(written) as running:
        hit = await running.held()
        lost, other = (name for name in rig.hosts if name != hit)
        async with switched_off(rig, lost):
            ended = await running.end()
            assert await rig.dirt([hit, other]) == {}
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.said
    first, later = ended.result.rounds[0].cases
    assert (first.state, later.state) == (CaseState.ERROR, CaseState.SKIPPED)
    assert f"no agent answers on {lost}" in first.reason
    assert "systemctl status etcd-chaos-agent" in str(ended.result.rounds[0].remedy)
    artefacts_are_kept(ended)
    assert (await rig.play("provision")).changed[lost] == 1
    assert await rig.dirt() == {}


@asynccontextmanager
async def switched_off(rig: Rig, host: str) -> AsyncIterator[None]:
    """The plug of a host is pulled; put in again afterwards, whatever happens."""
    await rig.lab.power_off(host)
    try:
        yield
    finally:
        await rig.lab.power_on(host)
