"""Playbooks may be run again: a second time changes nothing, a dry run never does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode
from tester.events import FaultInjected
from tests.lab.rig import case, scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.rig import Rig


TRACES = """
find / -xdev -name '*etcd*chaos*' -not -path '/var/log/journal/*'
grep etcd-chaos /etc/passwd /etc/group /etc/shadow || true
systemctl list-units --all --plain --no-legend 'etcd*'
"""


async def test_a_dry_run_finds_nothing_to_change(rig: Rig) -> None:
    before = await rig.looks()
    played = await rig.play("deploy", "--check", "--diff")
    assert played.code == ExitCode.VALID, played.out
    assert played.changed == dict.fromkeys(rig.hosts, 0), played.out
    assert await rig.looks() == before


async def test_every_other_playbook_changes_nothing_on_hosts_at_rest(rig: Rig, tmp_path: Path) -> None:
    before = await rig.looks()
    to = f"etcd_agent_collect_to={tmp_path}"
    assert (await rig.play("collect", "-e", to)).code == ExitCode.VALID
    for playbook in ("collect", "provision", "heal", "cleanup"):
        played = await rig.play(playbook, "-e", to)
        assert played.code == ExitCode.VALID, played.out
        assert played.changed == dict.fromkeys(rig.hosts, 0), played.out
    assert names_in(tmp_path) == list(rig.hosts)
    assert {name: look.lasting for name, look in (await rig.looks()).items()} == {
        name: look.lasting for name, look in before.items()
    }


@pytest.mark.again
async def test_a_host_is_given_back_and_taken_again_while_the_others_stay(rig: Rig) -> None:
    *others, host = rig.hosts
    before = await rig.looks()
    try:
        assert (await rig.play("teardown", "--limit", host)).changed[host] > 0
        assert await rig.shell(host, TRACES) == ""
        assert (await rig.play("teardown", "--limit", host)).changed == {host: 0}
    finally:
        played = await rig.play("deploy")
    assert played.code == ExitCode.VALID, played.out
    assert [played.changed[other] for other in others] == [0, 0], "deployed a second time"
    after = await rig.looks()
    assert {other: after[other] for other in others} == {other: before[other] for other in others}
    assert after[host].lasting == before[host].lasting


async def capabilities(rig: Rig) -> dict[str, set[str]]:
    """What systemd lets the agent of each host have."""
    ask = "systemctl show --property CapabilityBoundingSet --value etcd-chaos-agent.service"
    return {host: set((await rig.shell(host, ask)).split()) for host in rig.hosts}


@pytest.mark.again
async def test_fewer_faults_take_fewer_capabilities(rig: Rig, tmp_path: Path) -> None:
    """What is enabled works with them, what is not is refused before anything is touched."""
    before, bounds = await rig.looks(), await capabilities(rig)
    network = {"cap_net_admin", "cap_net_raw"}
    assert all(mine > network for mine in bounds.values()), "the control"
    try:
        played = await rig.play("deploy", "-e", json.dumps({"etcd_agent_faults": ["process"]}))
        assert played.code == ExitCode.VALID, played.out
        assert await capabilities(rig) == {host: mine - network for host, mine in bounds.items()}
        ended = await rig.run(scenario(tmp_path, case("kill", "leader"), case("pause", "follower")))
        assert ended.code == ExitCode.VALID, ended.said
        refused = await rig.run(scenario(tmp_path, case("kill", "leader"), case("isolate", "leader")))
        assert refused.code == ExitCode.INFRASTRUCTURE, refused.said
        assert (
            "cannot do fault isolate: faults of group network are not in its etcd_agent_faults"
            in refused.said
        )
        assert not refused.of(FaultInjected)
    finally:
        played = await rig.play("deploy")
    assert played.code == ExitCode.VALID, played.out
    assert await capabilities(rig) == bounds
    assert {host: look.lasting for host, look in (await rig.looks()).items()} == {
        host: look.lasting for host, look in before.items()
    }


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
