"""A cluster that loses every byte and is restored from a snapshot, through real agents; and one where that is broken off."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentRefusedError
from agent_service.models import FaultState
from tester.actions import disaster
from tester.errors import AgentError
from tester.etcd.client import EtcdClient
from tester.etcd.h2.channel import H2Channel
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
        self.stop_at_begin = False

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


async def test_all_is_lost_and_restored(tmp_path: Path, etcd_version: str) -> None:
    async with fleet_of(tmp_path, etcd_version) as fleet:
        ground, snapshot = await with_snapshot(fleet, tmp_path / "snapshot.db")
        turn, names = Turn(), tuple(fleet.hosts)
        async with fleet.fault(LoseDataSection()) as fault:
            await fault.inject(names)
            await disaster.restore(ground, turn, snapshot, names, _nobody)
            await fault.heal()
        assert set(turn.contents) == set(names) == set(turn.watched)
        for revision, content in turn.contents.values():
            assert revision == turn.revision
            assert [kv.k.removeprefix(PREFIX) for kv in content] == ["before"]
        await fleet.whole()
        await write(fleet, "new")
        for name in names:
            assert await keys(fleet, name) == ["before", "new"]


async def _nobody(members: Sequence[str]) -> None:
    raise AssertionError(f"{members} had lost their data before")
