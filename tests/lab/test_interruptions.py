"""A run that is not allowed to end: whatever ends it, the hosts come to rest, and what was found is kept."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode
from tester.events import FaultInjected, Notice, Phase
from tester.results import CaseState
from tests.lab.rig import case, scenario, until_quiet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.rig import Ended, Rig

LEASE_SECONDS = 15.0


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


async def test_hosts_of_a_tester_that_was_killed_heal_by_lease(rig: Rig, tmp_path: Path) -> None:
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
        return [left for look in (await rig.looks()).values() for left in (look.tables, look.active) if left]

    await until_quiet(faults, seconds=LEASE_SECONDS * 4)
    members = {name: look.members for name, look in (await rig.looks()).items()}
    assert members == {name: look.members for name, look in looks.items()}, (
        "the lease is a fault's, not a member's"
    )
    healed = await rig.cli("heal", "-i", rig.inventory)
    assert healed.code == ExitCode.VALID
    assert healed.out.splitlines() == [f"{host}: nothing to heal" for host in rig.hosts]
    for host, look in (await rig.looks()).items():
        assert [look.healed[fault] for fault in looks[host].active] == ["lease"]
    # What is left of the round itself, the next one's provision removes.
    assert (await rig.play("provision")).changed == dict.fromkeys(rig.hosts, 1)
    assert await rig.dirt() == {}


async def test_a_host_switched_off_in_the_middle_of_a_round(rig: Rig, tmp_path: Path) -> None:
    written = scenario(tmp_path, case("kill", "leader", hold="2s"), case("pause", "follower"))
    async with rig.running(written) as running:
        hit = await running.held()
        boot = (await rig.shell(hit, "journalctl --list-boots --quiet | wc -l")).strip()
        await rig.lab.power_off(hit)
        try:
            ended = await running.end()
            others = [name for name in rig.hosts if name != hit]
            assert await rig.dirt(others) == {}
        finally:
            await rig.lab.power_on(hit)
    assert ended.code == ExitCode.UNHEALED, ended.said
    first, later = ended.result.rounds[0].cases
    assert first.state is CaseState.ERROR
    assert f"host {hit}: fault" in first.reason
    assert "could not be healed" in first.reason
    assert later.state is CaseState.SKIPPED
    assert f"etcd-chaos heal --inventory {rig.inventory}" in str(ended.result.rounds[0].remedy)
    artefacts_are_kept(ended)
    assert all(other not in first.reason for other in others)

    async def unhealed() -> dict[str, str]:
        return (await rig.look(hit)).active

    await until_quiet(unhealed)
    assert boot != (await rig.shell(hit, "journalctl --list-boots --quiet | wc -l")).strip()
    fault = ended.of(FaultInjected)[0].fault_id
    assert (await rig.look(hit)).healed[fault] == "agent-start"
    healed = await rig.cli("heal", "-i", rig.inventory)
    assert (healed.code, healed.out.count("nothing to heal")) == (ExitCode.VALID, 3)
    assert (await rig.play("provision")).changed[hit] == 1
    assert await rig.dirt() == {}
