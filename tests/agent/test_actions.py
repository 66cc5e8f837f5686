"""What an operator may do to a live cluster, through real agents: members, leaders, alarms, versions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tester.actions.ground import Ground
from tester.actions.kinds import ALWAYS, NEEDS_FAULT
from tester.actions.membership import grow, move_leader, remove_and_add_back, replace, shrink
from tester.actions.mistakes import make_mistakes
from tester.actions.upkeep import compact, defragment, exceed_quota
from tester.actions.versions import change_version, refuse_version
from tester.errors import ActionError
from tester.etcd.endpoint import Endpoint
from tester.etcd.h2.channel import H2Channel
from tester.events import Event, MembershipChange, MembershipChanged
from tester.membership import Membership
from tester.results import Verdict
from tests.agent.hosts import Fleet, fleet_of

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
    specs = {name: (await agent.member()).spec for name, agent in fleet.agents.items()}
    return Ground(
        hosts={name: one.host for name, one in fleet.hosts.items()},
        agents=fleet.agents,
        specs={name: spec for name, spec in specs.items() if spec is not None},
        membership=Membership(endpoints, list(fleet.hosts), fleet.monitor, fleet.clock, fleet.bus),
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
        assert len(ground.membership.names) == len(fleet.roles().voters) == 2
        gone = fleet.roles().leader
        assert gone is not None
        await replace(ground, gone, learner=True)
        assert ground.membership.spares == (gone,)
        with pytest.raises(ActionError, match="no host is without a member"):
            await grow(ground, 4, learner=False)
        assert set(fleet.roles().voters) == set(fleet.hosts), "it grew as far as there were hosts"


async def test_mistakes_are_refused(tmp_path: Path, etcd_builds: dict[str, Path]) -> None:
    async with fleet_of(tmp_path, next(iter(etcd_builds))) as fleet:
        ground = await ground_of(fleet)
        done = await make_mistakes(ground, ALWAYS)
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        assert str(len(ALWAYS)) in done.checks[0].message
        # A mistake that is none here: nobody is down, so etcd accepts it, and that must be noticed.
        done = await make_mistakes(ground, sorted(NEEDS_FAULT)[1:])
        assert [check.verdict for check in done.checks] == [Verdict.INVALID], done.checks


async def test_upkeep(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd, SMALL_QUOTA) as fleet:
        ground = await ground_of(fleet)
        with pytest.raises(ActionError, match="nothing to forget"):
            await compact(ground, 1000, physical=False)
        assert "logically" in (await compact(ground, 1, physical=False)).text
        assert (await defragment(ground, list(fleet.hosts))).targets == tuple(fleet.hosts)
        done = await exceed_quota(ground)
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        await fleet.whole()


async def test_rolling_upgrade_and_a_downgrade_that_etcd_refuses(
    tmp_path: Path, etcd_builds: dict[str, Path]
) -> None:
    oldest, *_, newest = etcd_builds
    async with fleet_of(tmp_path, oldest) as fleet:
        ground = await ground_of(fleet)
        one, *others = fleet.hosts
        mixed = await change_version(ground, [one], newest)
        assert [check.verdict for check in mixed.checks] == [Verdict.VALID]
        assert {spec.version for spec in ground.specs.values()} == {oldest, newest}
        await change_version(ground, others, newest)
        assert {spec.version for spec in ground.specs.values()} == {newest}
        done = await refuse_version(ground, one, oldest)
        assert [check.verdict for check in done.checks] == [Verdict.VALID], done.checks
        await fleet.whole()
