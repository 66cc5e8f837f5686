"""What an operator may do to a live cluster, through real agents: members, leaders, alarms, versions."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace as replace_values
from random import Random
from typing import TYPE_CHECKING

import pytest

from agent_service.models import MemberState
from tester.actions.ground import Ground, talking_to
from tester.actions.kinds import ALWAYS, NEEDS_FAULT, Mistake
from tester.actions.membership import (
    add_learner,
    grow,
    move_leader,
    promote_learner,
    remove_and_add_back,
    replace,
    shrink,
)
from tester.actions.mistakes import make_mistakes
from tester.actions.quota import exceed_quota
from tester.actions.upkeep import compact, defragment
from tester.actions.versions import change_version, refuse_version
from tester.errors import ActionError, ClusterError
from tester.etcd.endpoint import Endpoint
from tester.etcd.h2.channel import H2Channel
from tester.events import Event, MembershipChange, MembershipChanged
from tester.membership import Membership
from tester.results import Verdict
from tester.scenario.faults import IsolateSection, KillSection
from tester.scenario.model import ClusterSection, VersionFlags
from tester.scenario.target import parse_target
from tester.targets import resolve_targets
from tester.versions import flags_of
from tests.agent.hosts import PATIENCE_SECONDS, Fleet, fleet_of, spec_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
]

SMALL_QUOTA = {"quota-backend-bytes": str(16 * 1024 * 1024)}


async def ground_of(fleet: Fleet) -> Ground:
    endpoints = [
        Endpoint(one.host.name, one.host.address, one.host.client_port) for one in fleet.hosts.values()
    ]
    running = {name: (await agent.member()).spec for name, agent in fleet.agents.items()}
    founders = {name: spec for name, spec in running.items() if spec is not None}
    version = next(iter(founders.values())).version
    spares = {
        name: spec_of(name, fleet, version, {}, founders) for name in fleet.hosts if name not in founders
    }
    return Ground(
        hosts={name: one.host for name, one in fleet.hosts.items()},
        agents=fleet.agents,
        specs=founders | spares,
        membership=Membership(endpoints, list(founders), fleet.monitor, fleet.clock, fleet.bus),
        monitor=fleet.monitor,
        clock=fleet.clock,
        bus=fleet.bus,
        connect=H2Channel,
        limit=60.0,
    )


async def test_members_come_and_go(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd) as fleet:
        heard: list[Event] = []
        fleet.bus.subscribe(heard.append)
        ground = await ground_of(fleet)
        leader = fleet.roles().leader
        follower = next(name for name in fleet.hosts if name != leader)
        data = (await fleet.agents[follower].member()).started_monotonic_ns

        done = await remove_and_add_back(ground, follower, learner=True)
        assert done.targets == (follower,)
        status = await fleet.agents[follower].member()
        assert status.started_monotonic_ns != data
        assert status.spec is not None
        assert status.spec.initial_cluster_state == "existing"
        changes = [event.change for event in heard if isinstance(event, MembershipChanged)]
        assert changes == [
            MembershipChange.LEAVING,
            MembershipChange.ADDED_LEARNER,
            MembershipChange.PROMOTED,
        ]

        await move_leader(ground, follower)
        assert fleet.roles().leader == follower

        await shrink(ground, 2, (follower, *(name for name in fleet.hosts if name != follower)))
        assert len(ground.membership.names) == 2
        await fleet.seen(lambda roles: len(roles.voters) == 2)
        gone = fleet.roles().leader
        assert gone is not None
        await replace(ground, gone, learner=True)
        assert ground.membership.spares == (gone,)
        with pytest.raises(ActionError, match="no host is without a member"):
            await grow(ground, 4, learner=False)
        await fleet.seen(lambda roles: set(roles.voters) == set(fleet.hosts))  # as far as there were hosts


async def test_one_member_grows_to_five_and_shrinks_again(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd, count=5, initial=1) as fleet:
        ground = await ground_of(fleet)
        assert fleet.roles().voters == ("h1",)
        written = []
        for number, (size, learner) in enumerate(((3, False), (5, True))):
            done = await grow(ground, size, learner=learner)
            assert len(done.targets) == 2
            assert len(ground.membership.names) == size
            await fleet.seen(lambda roles: len(roles.voters) == len(ground.membership.names))
            async with talking_to(ground, done.targets[0]) as client:  # one that has just come
                written.append(await client.put(f"k{number}", b"v"))
        for size in (3, 1):
            leader = fleet.roles().leader
            assert leader is not None
            members = ground.membership.names
            await shrink(ground, size, (leader, *(name for name in members if name != leader)))
            await fleet.monitor.wait_writes(PATIENCE_SECONDS)
        (last,) = ground.membership.names
        await fleet.seen(lambda roles: roles.voters == (last,))
        async with talking_to(ground, last) as client:
            found = [(await client.get(f"k{number}"))[1] for number in range(2)]
        assert [kv.m for kv in found if kv is not None] == written


async def test_a_learner_stands_until_it_is_promoted(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd) as fleet:
        ground = await ground_of(fleet)
        with pytest.raises(ActionError, match="promote h1: it is no learner"):
            await promote_learner(ground, "h1")
        await shrink(ground, 2, tuple(fleet.hosts))
        (learner,) = (await add_learner(ground)).targets
        assert learner not in (await fleet.seen(lambda roles: roles.learners == (learner,))).voters
        assert (await fleet.agents[learner].member()).state is MemberState.RUNNING
        async with fleet.fault(KillSection()) as fault:
            await fault.inject(resolve_targets(parse_target("learner"), fleet.roles(), Random(0)))
            assert fault.targets == (learner,)
            await fleet.monitor.wait_writes(PATIENCE_SECONDS)  # nobody misses it
            with pytest.raises(ClusterError, match=f"a read was not answered within 0.2 s by {learner}"):
                await fleet.monitor.wait_serving(0.2)
            await fault.heal()
        await fleet.whole()
        done = await make_mistakes(ground, [Mistake.DOWNGRADE_TOO_FAR, Mistake.CANCEL_NO_DOWNGRADE])
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        assert "unknown method" not in done.checks[0].message, "this etcd has downgrades"
        await promote_learner(ground, learner)
        assert set(ground.membership.names) == set(fleet.hosts)
        await fleet.seen(lambda roles: set(roles.voters) == set(fleet.hosts) and not roles.learners)


async def test_mistakes_are_refused(tmp_path: Path, etcd_builds: dict[str, Path]) -> None:
    async with fleet_of(tmp_path, next(iter(etcd_builds))) as fleet:
        ground = await ground_of(fleet)
        done = await make_mistakes(ground, ALWAYS)
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        assert str(len(ALWAYS)) in done.checks[0].message
        # A mistake that is none here: nobody is down, so etcd accepts it, and that must be noticed.
        done = await make_mistakes(ground, sorted(NEEDS_FAULT)[1:])
        async with asyncio.timeout(60):
            while done.checks[0].verdict is Verdict.UNKNOWN:  # refused for another reason, on a busy machine
                await asyncio.sleep(1)
                done = await make_mistakes(ground, sorted(NEEDS_FAULT)[1:])
        assert [check.verdict for check in done.checks] == [Verdict.INVALID], done.checks


async def test_upkeep(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd, SMALL_QUOTA) as fleet:
        ground = await ground_of(fleet)
        with pytest.raises(ActionError, match="nothing to forget"):
            await compact(ground, 1000, physical=False)
        assert "logically" in (await compact(ground, 1, physical=False)).text
        done = await defragment(ground, list(fleet.hosts), tuple)
        assert (done.targets, done.rest) == (tuple(fleet.hosts), None)
        done = await exceed_quota(ground, tuple)
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        assert done.checks[0].message.endswith("h1, h2, h3")
        assert done.rest is not None
        done = await done.rest()
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        await fleet.whole()


async def test_upkeep_while_a_fault_holds_a_member(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd, SMALL_QUOTA) as fleet:
        ground = await ground_of(fleet)
        for section, known in ((IsolateSection(), False), (KillSection(), True)):
            leader = fleet.roles().leader
            victim = next(name for name in fleet.hosts if name != leader)
            held = (victim,) if known else ()  # not: its fault has just ended, and it does not answer yet
            async with fleet.fault(section, f"c-{section.kind()}") as fault:
                await fault.inject([victim])
                if known:
                    rewritten = await defragment(ground, list(fleet.hosts), lambda: fault.targets)
                    with pytest.raises(ActionError, match=f"defragment {victim}: "):
                        await defragment(ground, [victim], tuple)
                full = await exceed_quota(ground, lambda held=held: held)
                assert [check.verdict for check in full.checks] == [Verdict.VALID], full.checks
                assert victim not in full.checks[0].message
                await fault.heal()
            await ground.monitor.wait_serving(ground.limit)
            assert full.rest is not None
            done = await full.rest()
            assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
            assert f"{victim} refused writes and served reads, too" in done.checks[0].message
            await fleet.whole()
        assert rewritten.rest is not None
        assert (await rewritten.rest()).targets == (victim,)


async def test_rolling_upgrade_and_a_downgrade_that_etcd_refuses(
    tmp_path: Path, etcd_builds: dict[str, Path]
) -> None:
    oldest, *_, newest = etcd_builds
    async with fleet_of(tmp_path, oldest) as fleet:
        ground = await ground_of(fleet)
        common = next(iter(ground.specs.values())).flags
        newer = {"experimental-compact-hash-check-enabled": "true"}  # the oldest does not start with it
        section = ClusterSection(flags_by_version=(VersionFlags(since="3.5.5", flags=newer),))
        ground = replace_values(ground, flags=lambda version: common | flags_of(section, version))
        one, *others = fleet.hosts
        mixed = await change_version(ground, [one], newest)
        assert [check.verdict for check in mixed.checks] == [Verdict.VALID]
        assert {spec.version for spec in ground.specs.values()} == {oldest, newest}
        await change_version(ground, others, newest)
        assert {spec.version for spec in ground.specs.values()} == {newest}
        assert [spec.flags for spec in ground.specs.values()] == [common | newer] * 3
        done = await refuse_version(ground, one, oldest)
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        await fleet.whole()
