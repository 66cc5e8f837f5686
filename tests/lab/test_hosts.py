"""Hosts that reboot and go dark, and agents that die and hang, under load: everything comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.errors import ExitCode
from tester.events import FaultHealed, MemberExited
from tests.lab.rig import case, scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.rig import Rig


async def test_hosts_and_agents_that_end_come_back(rig: Rig, tmp_path: Path) -> None:
    before = await rig.looks()
    boots = {host: await rig.shell(host, "stat -c %Y /proc/1") for host in rig.hosts}
    written = scenario(
        tmp_path,
        case("agent-kill", "one"),
        case("agent-hang", "one", hang="2s"),
        case("reboot", "node1", abrupt=True),
        case("power-off", "node2", abrupt=True),
        limits={"recovery": "60s"},
    )
    ended = await rig.run(written, "--seed", "7")
    assert ended.code == ExitCode.VALID, ended.said

    evidence = {event.kind: event.evidence for event in ended.of(FaultHealed)}
    assert "is gone" in evidence["agent-kill"]
    assert evidence["agent-hang"] == "the agent stood still for 2 s"
    assert "the host has booted anew" in evidence["reboot"]
    assert "the host has booted anew" in evidence["power-off"]
    ends = {event.member for event in ended.of(MemberExited) if event.expected}
    assert ends >= {"node1", "node2"}, "etcd ended with its host, and was asked to"
    assert not [event for event in ended.of(MemberExited) if not event.expected]

    output = ended.directory.rounds()[0].path / "scripts" / "power-on-node2.log"
    assert "switched on" in output.read_text()
    after = {host: await rig.shell(host, "stat -c %Y /proc/1") for host in rig.hosts}
    assert {host for host in rig.hosts if after[host] != boots[host]} == {"node1", "node2"}
    looks = await rig.looks()
    assert not any(look.problems() for look in looks.values())
    assert {host: look.lasting for host, look in looks.items()} == {
        host: look.lasting for host, look in before.items()
    }
