"""Streams and a member that is told to stop: etcd from 3.5 on waits for those that stay open."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tester.etcd import codec
from tester.etcd.errors import RpcError
from tester.etcd.keepalive import KeepAliveStream
from tester.etcd.streams import own_connection
from tester.etcd.watch import WatchStream
from tester.history.records import LeaseKeepAlive

if TYPE_CHECKING:
    from tests.etcd.inside.conftest import Bench


async def test_streams_let_a_member_go(bench: Bench) -> None:
    one, two, _ = bench.cluster.endpoints
    renewals = KeepAliveStream(one)
    async with WatchStream(one) as watch, own_connection(two) as stays:
        await watch.create("a", b"b", 1)
        assert (await watch.read()).created
        await renewals.call(codec.keepalive_request(LeaseKeepAlive(7)), 5)
        control = stays.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")(None)
        await control.write(codec.keepalive_request(LeaseKeepAlive(7)))
        await control.read()

        bench.cluster.signal("m1", signal.SIGTERM)
        bench.cluster.signal("m2", signal.SIGTERM)
        with pytest.raises(RpcError, match="the member goes away"):
            await watch.read()
        await asyncio.to_thread(bench.cluster.processes["m1"].wait)
        assert bench.cluster.processes["m2"].poll() is None, "the stream that stays keeps it"
        control.cancel()
    await renewals.close()
