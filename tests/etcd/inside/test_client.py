from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from tester.etcd import client
from tester.etcd.errors import RpcError
from tester.load import values
from tests.etcd.conftest import INSIDE
from tests.etcd.inside.cluster import Cluster
from tests.etcd.inside.conftest import Bench, bench_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_calls_to_one_member(bench: Bench) -> None:
    one, two, three = bench.clients.values()
    first = await one.put("a/1", values.encode(1, 40))
    assert await one.put("a/2", values.encode(2, 40)) == first + 1
    revision, found = await two.get("a/1")
    assert revision >= first
    assert found is not None
    assert (found.v, found.m, found.ver) == ("1:40", first, 1)
    assert (await three.get("absent"))[1] is None
    assert await one.delete("a/2") == (first + 2, 1)
    assert (await one.delete("a/2"))[1] == 0

    health = await one.status()
    assert 0 < health.applied_index <= health.raft_index
    members = await one.member_list()
    assert {m.name for m in members} == set(bench.cluster.names)
    assert health.member_id == next(m.member_id for m in members if m.name == "m1")
    assert health.leader_id in {m.member_id for m in members}
    assert (health.version, health.is_learner, health.errors) == (bench.cluster.version, False, ())
    assert health.db_size_bytes > 0
    assert await one.alarms() == ()


async def test_pages_hashes_and_compaction(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PAGE_KEYS", 50)
    one, two, three = bench.clients.values()
    revision = 0
    for number in range(1, 123):
        revision = await one.put(f"b/{number:05d}", values.encode(number, 20))
    read, found = await two.range_all("b/")
    assert read >= revision
    assert [kv.v for kv in found] == [f"{number}:20" for number in range(1, 123)]
    assert (await two.range_all("b/", revision - 1))[0] == revision - 1
    assert len((await two.range_all("b/", revision - 1))[1]) == 121
    await three.get("b/")  # catches up to the newest revision
    at_revision = [await each.hash_kv(revision) for each in (one, two, three)]
    assert len({(h.hash, h.revision, h.compact_revision) for h in at_revision}) == 1
    assert (await one.hash_kv(revision - 1)).hash != at_revision[0].hash

    await one.compact(revision - 5, physical=True)
    with pytest.raises(RpcError) as raised:
        await one.range_all("b/", revision - 10)
    assert raised.value.kind == "etcdserver: mvcc: required revision has been compacted"
    assert raised.value.definite
    with pytest.raises(RpcError) as raised:
        await one.compact(revision - 5)
    assert raised.value.definite
    with pytest.raises(RpcError) as raised:
        await one.put("", b"x")
    assert raised.value.definite


async def test_a_put_refused_for_space_may_be_applied(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Why ``database space exceeded`` on a write is ``info``: the applier writes first and complains then.

    Only puts that are proposed before the quota is known to be exceeded, and applied after, show it: the database
    learns its size ten times a second. A burst that falls between two of these moments is tried again.
    """
    for _ in range(6):
        if await shows_applied_refusals(tmp_path_factory.mktemp("burst")):
            return
    pytest.fail("no burst had a put that was refused and applied")


async def shows_applied_refusals(folder: Path) -> bool:
    cluster = Cluster(os.environ[INSIDE], folder, ("--quota-backend-bytes", str(8 * 1024**2)))
    async with bench_of(cluster) as bench:
        clients = list(bench.clients.values())
        keys = [f"q/{number:03d}" for number in range(60)]
        large = bytes(500_000)

        async def put(number: int, key: str) -> int:
            await asyncio.sleep(number * 0.004)
            return await clients[number % 3].put(key, large)

        answers = await asyncio.gather(*(put(n, key) for n, key in enumerate(keys)), return_exceptions=True)
        _, found = await clients[0].range_all("q/")
        there = {kv.k for kv in found}
        refused = [
            (key, answer) for key, answer in zip(keys, answers, strict=True) if isinstance(answer, RpcError)
        ]
        if not any(key in there for key, _ in refused):
            return False
        assert {answer.kind for _, answer in refused} == {"etcdserver: mvcc: database space exceeded"}
        assert not any(answer.definite for _, answer in refused)
        assert {alarm.kind for alarm in await clients[0].alarms()} == {"NOSPACE"}
        assert (await clients[0].status()).errors
        return True
