"""The job this tool is for: deploy, break under load, heal, prove, clean up; with an old and a new etcd."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode
from tester.events import FaultHealed, FaultInjected, LeaderChanged, MemberExited, Phase, PhaseStarted
from tester.results import CaseState, Verdict
from tests.lab.rig import case, scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.rig import Ended, Rig

QUORUM_LOSS = {"allow_quorum_loss": True}
# Every fault and every target in each; a short grace where the point is not how etcd takes SIGTERM.
CASES = (
    (
        case("stop", "follower"),
        case("kill", "leader"),
        case("pause", "minority"),
        case("restart", "majority", grace="1s", **QUORUM_LOSS),
        case("isolate", "all", **QUORUM_LOSS),
    ),
    (
        case("kill", "follower"),
        case("isolate", "leader"),
        case("restart", "minority", grace="1s"),
        case("pause", "majority", **QUORUM_LOSS),
        case("stop", "all", grace="1s", **QUORUM_LOSS),
    ),
)
UNTIL_UP = (
    "sleep 0.5; timeout 60 bash -c 'until systemctl is-active --quiet etcd-chaos-agent; do sleep 0.1; done'"
)
SECURED = {"tls": "own", "client_cert_auth": True, "auth": True}
HITS = {"follower": 1, "leader": 1, "minority": 1, "majority": 2, "all": 3}


@pytest.mark.parametrize("which", [0, 1], ids=["oldest-etcd", "newest-etcd"])
async def test_every_fault_is_held_healed_and_proven(rig: Rig, tmp_path: Path, which: int) -> None:
    """The newest etcd with certificates and users, too: files of the member's user, gone with the member."""
    version, cases, secured = rig.versions[which], CASES[which], ({}, SECURED)[which]
    before = await rig.looks()
    written = scenario(
        tmp_path,
        *cases,
        cluster={"version": version, **secured},
        limits={"recovery": "60s"},
        keep_revisions=100,
        defragment_every=1,
    )
    async with rig.running(written, "--seed", "7") as running:
        await running.phase(Phase.HOLD)
        looks = await rig.looks()
        ended = await running.end()

    binary = f"/opt/etcd-chaos/etcd/{version}/bin/etcd"
    ran = [member.split()[1] for look in looks.values() for member in look.members.values()]
    assert set(ran) == {binary}
    assert ended.code == ExitCode.VALID, ended.said
    result = ended.result
    assert (result.exit_code, result.seed, result.reason) == (ExitCode.VALID, 7, "")
    (one,) = result.rounds
    assert [done.name for done in one.cases] == [asked["name"] for asked in cases]
    for asked, done in zip(cases, one.cases, strict=True):
        assert (done.state, done.reason) == (CaseState.PASSED, "")
        assert len(set(done.targets)) == HITS[str(asked["target"])]
        assert done.held_seconds is not None
        assert done.held_seconds >= 1.0
        assert done.recovery is not None
        assert None not in {done.recovery.leader, done.recovery.serving, done.recovery.writes}
        assert done.before.ok > 0
        assert done.after.ok > 0
        assert {"kv-hash", "durability", "recovery", "exits"} <= {check.checker for check in done.checks}
    assert {"linearizable", "compaction", "defragmentation"} <= {check.checker for check in one.checks}
    checks = [check for part in (*one.cases, one) for check in part.checks]
    assert [check for check in checks if check.verdict is not Verdict.VALID] == []
    info = ended.directory.read_info()
    assert info is not None
    assert (info.etcd_version, set(info.agent_versions)) == (version, set(rig.hosts))
    hit_by_role(ended)
    assert await rig.dirt() == {}
    assert {name: look.lasting for name, look in (await rig.looks()).items()} == {
        name: look.lasting for name, look in before.items()
    }
    await judged_the_same_again(rig, ended)


def hit_by_role(ended: Ended) -> None:
    """That ``leader`` was the leader, ``follower`` was not, and all that was injected was healed."""
    leader: str | None = None
    injected: list[str] = []
    for event in ended.events:
        match event:
            case LeaderChanged(leader=now):
                leader = now or leader
            case PhaseStarted(phase=Phase.INJECT, case=str(name)):
                asked, at_injection = name.split("-")[1], leader
            case FaultInjected(fault_id=fault, member=member):
                injected.append(fault)
                assert asked != "leader" or member == at_injection
                assert asked != "follower" or member != at_injection
            case FaultHealed(fault_id=fault):
                injected.remove(fault)
    assert injected == []
    assert len(ended.of(FaultInjected)) == 8


async def judged_the_same_again(rig: Rig, ended: Ended) -> None:
    """``etcd-chaos check`` comes to the verdicts of the run, from what the run wrote down."""
    again = await rig.cli("check", "--json", ended.directory.path)
    assert again.code == ExitCode.VALID, again
    judged = {
        (line["case"], check["checker"]): check["verdict"]
        for line in map(json.loads, again.out.splitlines())
        for check in line["results"]
    }
    (one,) = ended.result.rounds
    parts = {done.name: done.checks for done in one.cases} | {"round": one.checks}
    first = {(name, check.checker): check.verdict for name, checks in parts.items() for check in checks}
    for upkeep in ("compaction", "defragmentation"):
        del first["round", upkeep]  # looked at members, not at the history
    assert {key: judged[key] for key in first} == first


async def test_agents_killed_while_a_fault_is_held_find_everything_again(rig: Rig, tmp_path: Path) -> None:
    written = scenario(tmp_path, case("isolate", "leader", hold="40s"))  # time to look twice
    async with rig.running(written) as running:
        hit = await running.held()
        before = await rig.looks()
        kill = "systemctl kill --signal=KILL --kill-whom=main etcd-chaos-agent.service"
        await asyncio.gather(*(rig.shell(host, f"{kill}\n{UNTIL_UP}") for host in rig.hosts))
        after = await rig.looks()
        ended = await running.end()
    assert {name: look.members for name, look in after.items()} == {
        name: look.members for name, look in before.items()
    }, "a member noticed"
    assert all(after[name].agent not in {0, before[name].agent} for name in rig.hosts)
    assert before[hit].tables
    assert (after[hit].tables, after[hit].active) == (before[hit].tables, before[hit].active)
    assert ended.code == ExitCode.VALID, ended.said
    (done,) = ended.result.rounds[0].cases
    assert done.held_seconds is not None
    assert done.held_seconds >= 40
    assert await rig.dirt() == {}


async def test_a_member_that_dies_unasked_makes_the_round_invalid(rig: Rig, tmp_path: Path) -> None:
    calm = {"name": "calm", "fault": "none", "steady": "300ms", "hold": "5s", "settle": "300ms"}
    written = scenario(tmp_path, calm, case("kill", "follower"), limits={"recovery": "3s"})
    victim = rig.hosts[0]
    async with rig.running(written) as running:
        await running.phase(Phase.HOLD)
        await rig.shell(
            victim, 'kill -KILL "$(systemctl show --property=MainPID --value etcd-chaos-member.service)"'
        )
        told = await running.until(MemberExited)
        ended = await running.end()
    assert (told.member, told.expected) == (victim, False)
    assert "although nobody asked for it" in told.text
    assert ended.code == ExitCode.INVALID, ended.said
    (one,) = ended.result.rounds
    calm_result, left_out = one.cases
    assert (calm_result.state, left_out.state) == (CaseState.VIOLATED, CaseState.SKIPPED)
    (exits,) = (check for check in calm_result.checks if check.checker == "exits")
    assert exits.verdict is Verdict.INVALID
    assert exits.findings[0].members == (victim,)
    assert (ended.directory.rounds()[0].member(victim) / "member.log").stat().st_size > 0
    assert await rig.dirt() == {}
