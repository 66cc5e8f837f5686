"""A cluster that loses every byte and is restored from a snapshot, through real agents; once it is broken off."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentRefusedError
from tester.actions import disaster
from tester.etcd.client import EtcdClient
from tester.etcd.h2.channel import H2Channel
from tester.faults import FaultTiming
from tester.scenario.faults import LoseDataSection
from tests.agent.hosts import Fleet, fleet_of
from tests.agent.test_actions import ground_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tester.actions.ground import Ground
    from tester.etcd.endpoint import Endpoint
    from tester.history.records import KeyValue

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
]

PREFIX = "etcd-chaos/load/"
PATIENT = FaultTiming(lease=300.0, heal=60.0)
_SAVE = """\
import asyncio, sys
from pathlib import Path
from tester.etcd.endpoint import Endpoint
from tester.etcd.snapshot import save_snapshot
name, address, port, file = sys.argv[1:]
print(asyncio.run(save_snapshot(Endpoint(name, address, int(port)), Path(file), 30)))
"""


async def save_elsewhere(endpoint: Endpoint, file: Path, _limit: float) -> int:
    """In a process of its own: gRPC's threads would stay in the namespace of the first test."""
    argv = (sys.executable, "-c", _SAVE, endpoint.member, endpoint.address, str(endpoint.port), str(file))
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    assert child.returncode == 0
    return int(said)


class Turn:
    """Writes down what it is told."""

    prefix = PREFIX

    def __init__(self) -> None:
        self.revision = 0
        self.contents: dict[str, tuple[int, tuple[KeyValue, ...]]] = {}
        self.closed: tuple[str, ...] = ()
        self.watched: tuple[str, ...] = ()

    async def quiet(self) -> None:
        pass

    async def close(self, members: Sequence[str]) -> None:
        self.closed = tuple(members)

    def begin(self, revision: int, snapshot: disaster.Snapshot) -> None:
        assert snapshot.asked_ns < snapshot.taken_ns
        self.revision = revision

    def told(self, member: str, revision: int, content: tuple[KeyValue, ...]) -> None:
        self.contents[member] = (revision, content)

    async def watch(self, members: Sequence[str]) -> None:
        self.watched = tuple(members)

    async def resume(self) -> None:
        pass


async def write(fleet: Fleet, key: str) -> int:
    one = next(iter(fleet.hosts.values())).host
    client = EtcdClient(
        disaster_endpoint(fleet, one.name), H2Channel(disaster_endpoint(fleet, one.name)), 5.0
    )
    try:
        return await client.put(PREFIX + key, b"1:1:")
    finally:
        await client.close()


def disaster_endpoint(fleet: Fleet, name: str) -> Endpoint:
    return fleet.monitor._endpoints[name]


async def keys(fleet: Fleet, name: str) -> list[str]:
    endpoint = disaster_endpoint(fleet, name)
    client = EtcdClient(endpoint, H2Channel(endpoint), 5.0)
    try:
        return [kv.k.removeprefix(PREFIX) for kv in (await client.range_all(PREFIX))[1]]
    finally:
        await client.close()


async def with_snapshot(fleet: Fleet, file: Path) -> tuple[Ground, disaster.Snapshot]:
    ground = replace(await ground_of(fleet), save_snapshot=save_elsewhere)
    await write(fleet, "before")
    leader = fleet.roles().leader
    assert leader is not None
    _, snapshot = await disaster.save(ground, leader, file)
    await write(fleet, "after")
    return ground, snapshot


class BrokenOffError(Exception):
    """Somebody pulls the plug."""


class BrokenOff(Turn):
    """Ends it when the new cluster serves, and nobody has said yet that it is to stay."""

    def told(self, member: str, revision: int, content: tuple[KeyValue, ...]) -> None:
        raise BrokenOffError(member)


async def test_a_disaster_is_broken_off_and_another_one_is_not(tmp_path: Path, etcd_version: str) -> None:
    async with fleet_of(tmp_path, etcd_version) as fleet:
        ground, snapshot = await with_snapshot(fleet, tmp_path / "snapshot.db")
        names = tuple(fleet.hosts)

        specs = dict(ground.specs)
        async with fleet.fault(LoseDataSection(), "first", PATIENT) as fault:
            await fault.inject(names)
            with pytest.raises(AgentRefusedError, match="there is no snapshot"):
                await fleet.agents["h1"].restore(specs["h1"], "0" * 64)
            with pytest.raises(BrokenOffError):
                await disaster.restore(ground, BrokenOff(), snapshot, names, _nobody)
            agent = fleet.hosts["h1"].agent
            await asyncio.to_thread(agent.kill)  # the next one has to know what gives way
            await asyncio.to_thread(agent.start)
        ground.specs.update(specs)
        await fleet.whole()
        for name in names:
            assert await keys(fleet, name) == ["after", "before"], "what was set aside is back"
            assert (await fleet.agents[name].member()).spec == specs[name]

        turn = Turn()
        async with fleet.fault(LoseDataSection(), "second", PATIENT) as fault:
            await fault.inject(names)
            done = await disaster.restore(ground, turn, snapshot, names, _nobody)
            await fault.heal()
        assert ("etcdctl" if etcd_version.startswith("3.4") else "etcdutl") in done.text
        assert set(turn.contents) == set(turn.closed) == set(turn.watched) == set(names)
        for revision, content in turn.contents.values():
            assert revision == turn.revision
            assert [kv.k.removeprefix(PREFIX) for kv in content] == ["before"]
        await fleet.whole()
        await write(fleet, "new")
        for name in names:
            assert await keys(fleet, name) == ["before", "new"]


async def test_a_survivor_begins_anew_and_the_others_join(tmp_path: Path, newest_etcd: str) -> None:
    async with fleet_of(tmp_path, newest_etcd) as fleet:
        ground, snapshot = await with_snapshot(fleet, tmp_path / "snapshot.db")
        leader = snapshot.member
        others = tuple(name for name in fleet.hosts if name != leader)
        before = {name: (await fleet.agents[name].member()).spec for name in fleet.hosts}
        async with (
            fleet.fault(LoseDataSection(), "others", PATIENT) as fault,
            fleet.fault(LoseDataSection(), "leader", PATIENT) as last,
        ):
            await fault.inject(others)
            with pytest.raises(AgentRefusedError, match="cannot restore a member that is running"):
                await fleet.agents[leader].restore(ground.specs[leader], "0" * 64)
            await disaster.restore(ground, Turn(), snapshot, (leader,), last.inject)
        await fleet.whole()
        for name in fleet.hosts:
            assert await keys(fleet, name) == ["before"]
            spec = (await fleet.agents[name].member()).spec
            assert spec is not None
            assert spec != before[name]
            assert spec.initial_cluster_state == ("new" if name == leader else "existing")


async def _nobody(members: Sequence[str]) -> None:
    raise AssertionError(f"{members} had lost their data before")
