"""Leases on real members: what they do is recorded, and right under faults."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tester.etcd import codec
from tester.etcd.errors import RpcError
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.keepalive import KeepAliveStream
from tester.history.columns import Kind, LeafCol
from tester.history.records import LeaseGrant, LeaseKeepAlive, LeaseResult, LeaseRevoke, LeaseTimeToLive
from tester.results import Verdict
from tester.scenario.stressers import LeaseStresser
from tests.etcd.inside.recorded import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.etcd.inside.conftest import Bench


async def test_one_lease(bench: Bench) -> None:
    endpoint = bench.cluster.endpoints[0]
    channel, stream = GrpcChannel(endpoint), KeepAliveStream(endpoint)

    async def ask(op: LeaseGrant | LeaseRevoke | LeaseTimeToLive) -> LeaseResult | None:
        answer = codec.answer(op, await channel.call(*codec.request(op), 5))
        assert answer.result is None or isinstance(answer.result, LeaseResult)
        return answer.result

    async def renew() -> LeaseResult | None:
        op = LeaseKeepAlive(7)
        answer = codec.answer(op, await stream.call(codec.keepalive_request(op), 5))
        assert isinstance(answer.result, LeaseResult)
        return answer.result

    try:
        assert await ask(LeaseGrant(7, 60)) == LeaseResult(60)
        assert await renew() == await renew() == LeaseResult(60)
        left = await ask(LeaseTimeToLive(7))
        assert left is not None
        assert (left.granted, left.ttl in {58, 59, 60}) == (60, True)
        with pytest.raises(RpcError, match="lease already exists"):
            await ask(LeaseGrant(7, 60))
        assert await ask(LeaseRevoke(7)) is None
        assert await renew() == LeaseResult(0)
        assert await ask(LeaseTimeToLive(7)) == LeaseResult(-1)
        with pytest.raises(RpcError, match="requested lease not found"):
            await ask(LeaseRevoke(7))
        await bench.cluster.kill("m1")
        with pytest.raises(RpcError):
            await renew()
        bench.cluster.start("m1")
        await bench.monitor.wait_serving(30)
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await renew() == LeaseResult(0)
                    break
                except RpcError:
                    await asyncio.sleep(0.1)
    finally:
        await stream.close()
        await channel.close()


async def test_a_renewal_keeps_its_deadline(bench: Bench) -> None:
    stream = KeepAliveStream(bench.cluster.endpoints[1])
    request = codec.keepalive_request(LeaseKeepAlive(7))
    try:
        bench.cluster.signal("m2", signal.SIGSTOP)
        with pytest.raises(RpcError, match=r"DEADLINE_EXCEEDED|UNAVAILABLE"):
            await stream.call(request, 0.3)
        bench.cluster.signal("m2", signal.SIGCONT)
        await bench.monitor.wait_serving(30)
        # what the stalled member has to say late is nobody's answer
        answer = codec.answer(LeaseKeepAlive(7), await stream.call(request, 10))
        assert answer.result == LeaseResult(0)
    finally:
        bench.cluster.signal("m2", signal.SIGCONT)
        await stream.close()


@pytest.mark.parametrize("transport", ["h2", "grpc"])
async def test_leases_under_faults(bench: Bench, tmp_path: Path, transport: str) -> None:
    stresser = LeaseStresser.model_validate(
        {"kind": "lease", "leases": 4, "keys": 3, "ttl": "20s", "rate": "150/s", "timeout": "1s"}
    )
    async with recorded(bench, tmp_path / "history.jsonl", [stresser], over_grpc=transport == "grpc") as run:
        await run.until_ok(300)
        leader = bench.monitor.view().leader
        assert leader is not None
        await bench.cluster.kill(leader)
        await run.until_ok(150)
        await bench.monitor.wait_leader(30)
        bench.cluster.start(leader)
        await bench.monitor.wait_serving(30)
        follower = next(name for name in bench.cluster.names if name != bench.monitor.view().leader)
        bench.cluster.signal(follower, signal.SIGSTOP)
        await asyncio.sleep(1.5)
        bench.cluster.signal(follower, signal.SIGCONT)
        await bench.monitor.wait_serving(30)
        await run.until_ok(300)
        history, results = await run.judge("leases", "linearizable")
    for result in results.values():
        assert result.verdict is Verdict.VALID, result
    kinds = history.operations.leaves.columns[LeafCol.KIND].tolist()
    for kind in (Kind.GRANT, Kind.REVOKE, Kind.KEEPALIVE, Kind.TTL, Kind.PUT, Kind.RANGE):
        assert kind in kinds
    assert "seen to end" in results["leases"].message
