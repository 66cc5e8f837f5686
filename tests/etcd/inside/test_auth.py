"""Tokens on real members: what becomes of a call whose token is gone, and of the next."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tester.etcd.client import EtcdClient
from tester.etcd.connect import connect, connect_grpc, connect_h2
from tester.etcd.credentials import Login
from tester.etcd.errors import RpcError
from tester.etcd.users import enable_auth
from tester.etcd.watch import WatchStream
from tests.etcd.conftest import INSIDE
from tests.etcd.inside.cluster import Cluster
from tests.etcd.inside.conftest import bench_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tester.etcd.channel import Connect
    from tester.etcd.endpoint import Endpoint
    from tests.etcd.inside.conftest import Bench

ROOT, LOAD = Login("root", "a secret of root"), Login("someone", "a secret of someone")
PREFIX = "load/"


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Bench]:
    flags = ("--bcrypt-cost", "4", "--auth-token-ttl", "1")
    async with bench_of(Cluster(os.environ[INSIDE], tmp_path, flags)) as made:
        channel = connect(made.cluster.endpoints[0])
        await enable_auth(channel, ROOT, LOAD, PREFIX)
        await channel.close()
        yield made


def client_of(endpoint: Endpoint, login: Login, make: Connect) -> EtcdClient:
    as_user = replace(endpoint, login=login)
    return EtcdClient(as_user, make(as_user))


async def outcome(client: EtcdClient, key: str) -> str:
    try:
        await client.put(key, b"1:")
    except RpcError as error:
        return error.text if error.definite else f"nobody knows: {error}"
    return "ok"


async def test_tokens(secured: Bench) -> None:
    """One cluster for all: it takes seconds to start."""
    m1 = secured.cluster.endpoints[0]
    for make in (connect_h2, connect_grpc):
        load = client_of(m1, LOAD, make)
        assert await outcome(load, f"{PREFIX}a") == "ok"
        assert await outcome(load, "elsewhere") == "etcdserver: permission denied"
        await asyncio.sleep(2.5)  # longer than a token lives that nobody uses
        assert await outcome(load, f"{PREFIX}a") == "etcdserver: invalid auth token"
        assert await asyncio.gather(*(outcome(load, f"{PREFIX}{n}") for n in range(5))) == ["ok"] * 5
        await load.close()
        root = client_of(m1, ROOT, make)
        assert await outcome(root, "elsewhere") == "ok"
        await root.close()
        liar = client_of(m1, replace(LOAD, password="a guess"), make)
        for _ in range(2):
            said = await outcome(liar, f"{PREFIX}a")
            assert said == (
                "never sent: no token: etcdserver: authentication failed, invalid user ID or password"
            )
            assert "guess" not in said
        await liar.close()
        nobody = EtcdClient(m1, make(m1))
        assert await outcome(nobody, f"{PREFIX}a") == "etcdserver: user name is empty"
        await nobody.close()


async def test_a_watch_shows_a_token_of_its_own(secured: Bench) -> None:
    m1 = secured.cluster.endpoints[0]
    writer = client_of(m1, LOAD, connect_h2)
    revision = await writer.put(f"{PREFIX}k", b"1:")
    await writer.close()
    async with WatchStream(replace(m1, login=LOAD)) as stream:
        await stream.create(PREFIX, b"load0", revision)
        assert (await stream.read()).created
        assert (await stream.read()).events[0].kv.mod_revision == revision
    async with WatchStream(replace(m1, login=LOAD)) as stream:
        await stream.create("a", b"z", revision)
        assert (await stream.read()).canceled
    with pytest.raises(RpcError, match="invalid user ID or password"):
        async with WatchStream(replace(m1, login=replace(LOAD, password="a guess"))):
            pass
