"""Our channel beside grpc.aio on real members: same requests, answers and errors, also when it breaks."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Channel, Method
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.h2 import H2Channel
from tester.etcd.h2.keepalive import Keepalive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tester.etcd.endpoint import Endpoint
    from tests.etcd.inside.conftest import Bench

Ended: TypeAlias = tuple[str, str]
"""How a call ended: ``ok`` and nothing, or the status and its message."""


@asynccontextmanager
async def both(endpoint: Endpoint) -> AsyncIterator[tuple[H2Channel, GrpcChannel]]:
    ours, control = H2Channel(endpoint), GrpcChannel(endpoint)
    try:
        yield ours, control
    finally:
        await ours.close()
        await control.close()


async def ended(channel: Channel, method: Method, request: bytes, timeout: float) -> tuple[Ended, bytes]:
    try:
        return ("ok", ""), await channel.call(method, request, timeout)
    except RpcError as error:
        return (error.code.value, error.text), b""


def put(key: str, size: int = 20, **options: bool | int) -> bytes:
    return bytes(pb.PutRequest(key=key.encode(), value=b"v" * size, **options).SerializeToString())


def range_of(key: str, **options: bool | int | bytes) -> bytes:
    return bytes(pb.RangeRequest(key=key.encode(), **options).SerializeToString())


def swap(key: str, version: int) -> bytes:
    request = pb.TxnRequest()
    request.compare.add(result=pb.Compare.EQUAL, target=pb.Compare.VERSION, key=key.encode(), version=version)
    request.success.add(request_put=pb.PutRequest(key=key.encode(), value=b"then"))
    request.failure.add(request_range=pb.RangeRequest(key=key.encode()))
    return bytes(request.SerializeToString())


# What changes something is sent twice, once by each: the answers differ in revisions alone.
WRITES = [
    (Method.PUT, put("d/1")),
    (Method.PUT, put("d/2", 1_000_000)),
    (Method.TXN, swap("d/1", 7)),
    (Method.DELETE_RANGE, pb.DeleteRangeRequest(key=b"absent").SerializeToString()),
    (Method.COMPACT, pb.CompactionRequest(revision=3).SerializeToString()),
    (Method.COMPACT, pb.CompactionRequest(revision=3).SerializeToString()),
    (Method.COMPACT, pb.CompactionRequest(revision=2**60).SerializeToString()),
]
READS = [
    (Method.RANGE, range_of("d/1")),
    (Method.RANGE, range_of("d/", range_end=b"d0")),
    (Method.RANGE, range_of("d/", range_end=b"d0", count_only=True)),
    (Method.RANGE, range_of("absent", serializable=True)),
    (Method.RANGE, range_of("", serializable=True)),
    (Method.RANGE, range_of("d/1", revision=1)),
    (Method.RANGE, range_of("d/1", revision=2**60)),
    (Method.PUT, put("")),
    (Method.PUT, put("d/3", 3_000_000)),
    (Method.PUT, put("d/3", lease=4711)),
    (Method.PUT, put("d/absent", 0, ignore_value=True)),
    (Method.PUT, b"\xff\xff no protobuf"),
    (Method.TXN, pb.TxnRequest(success=[pb.RequestOp()] * 200).SerializeToString()),
    (Method.MEMBER_LIST, b""),
    (Method.ALARM, b""),
    (Method.HASH_KV, pb.HashKVRequest(revision=2**60).SerializeToString()),
]


async def test_same_requests_same_answers_same_errors(bench: Bench) -> None:
    async with both(bench.cluster.endpoints[0]) as (ours, control):
        for method, request in WRITES:
            await ended(ours, method, request, 20)  # so that both meet the same state
            of_ours = await ended(ours, method, request, 20)
            of_control = await ended(control, method, request, 20)
            assert of_ours[0] == of_control[0]
            assert len(of_ours[1]) == len(of_control[1])
        codes = set()
        for method, request in READS:
            of_ours = await ended(ours, method, request, 20)
            assert of_ours == await ended(control, method, request, 20)
            codes.add(of_ours[0][0])
        assert codes >= {
            "ok",
            "INVALID_ARGUMENT",
            "OUT_OF_RANGE",
            "NOT_FOUND",
            "RESOURCE_EXHAUSTED",
            "INTERNAL",
        }


async def test_many_answers_at_once_and_large_ones(bench: Bench) -> None:
    one = bench.cluster.endpoints[0]
    async with both(one) as (ours, control):
        puts = (ours.call(Method.PUT, put(f"m/{number:04d}", 10_000), 30) for number in range(400))
        revisions = {
            pb.PutResponse.FromString(answer).header.revision for answer in await asyncio.gather(*puts)
        }
        assert len(revisions) == 400
        everything = range_of("m/", range_end=b"m0")
        wanted = await control.call(Method.RANGE, everything, 30)
        assert len(wanted) > 4_000_000
        answers = await asyncio.gather(*(ours.call(Method.RANGE, everything, 30) for _ in range(8)))
        assert all(answer == wanted for answer in answers)


async def in_flight(bench: Bench, channel: Channel) -> list[asyncio.Task[tuple[Ended, bytes]]]:
    """Writes that no quorum will ever answer, sent to the first member."""
    tasks = [asyncio.create_task(ended(channel, Method.PUT, put(f"f/{n}"), 15)) for n in range(20)]
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in tasks)
    return tasks


@contextmanager
def without_quorum(bench: Bench) -> Iterator[None]:
    for name in ("m2", "m3"):
        bench.cluster.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        for name in ("m2", "m3"):
            bench.cluster.signal(name, signal.SIGCONT)


async def works_again(channel: Channel) -> None:
    async with asyncio.timeout(30):
        # Both are asked, not told: nothing sets an event.
        while (await ended(channel, Method.PUT, put("again"), 2))[0] != ("ok", ""):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_kill(bench: Bench) -> None:
    async with both(bench.cluster.endpoints[0]) as channels:
        for channel in channels:
            await works_again(channel)
        with without_quorum(bench):
            started = [await in_flight(bench, channel) for channel in channels]
            await bench.cluster.kill("m1")
            for tasks in started:
                codes = {code for (code, _), _ in await asyncio.gather(*tasks)}
                assert codes == {"UNAVAILABLE"}
            for channel in channels:  # nobody listens
                assert (await ended(channel, Method.PUT, put("down"), 5))[0][0] == "UNAVAILABLE"
        bench.cluster.start("m1")
        for channel in channels:
            await works_again(channel)


async def test_a_stopped_process_is_found_by_keepalive(bench: Bench) -> None:
    async with both(bench.cluster.endpoints[0]) as channels:
        for channel in channels:
            await works_again(channel)
        bench.cluster.signal("m1", signal.SIGSTOP)
        try:
            for tasks in [await in_flight(bench, channel) for channel in channels]:
                codes = {code for (code, _), _ in await asyncio.gather(*tasks)}
                assert codes == {"UNAVAILABLE"}  # long before the deadline
            for channel in channels:  # the kernel still accepts for it
                assert (await ended(channel, Method.PUT, put("x"), 5))[0][0] == "UNAVAILABLE"
        finally:
            bench.cluster.signal("m1", signal.SIGCONT)
        for channel in channels:
            await works_again(channel)


def nft(*words: str) -> None:
    program = shutil.which("nft")
    assert program is not None
    subprocess.run([program, *words], check=True)


@contextmanager
def dropped(address: str) -> Iterator[None]:
    nft("add", "table", "inet", "h2drop")
    nft("add", "chain", "inet", "h2drop", "input", "{ type filter hook input priority 0; }")
    for side in ("daddr", "saddr"):
        port = "dport" if side == "daddr" else "sport"
        nft("add", "rule", "inet", "h2drop", "input", "ip", side, address, "tcp", port, "2379", "drop")
    try:
        yield
    finally:
        nft("delete", "table", "inet", "h2drop")


async def test_dropped_packets(bench: Bench) -> None:
    endpoint = bench.cluster.endpoints[0]
    async with both(endpoint) as channels:
        for channel in channels:
            await works_again(channel)
        with dropped(endpoint.address):
            for tasks in [await in_flight(bench, channel) for channel in channels]:
                codes = {code for (code, _), _ in await asyncio.gather(*tasks)}
                assert codes == {"UNAVAILABLE"}
            for channel in channels:  # connecting hangs as well
                assert (await ended(channel, Method.PUT, put("x"), 5))[0][0] == "UNAVAILABLE"
        for channel in channels:
            await works_again(channel)


def too_late(end: Ended) -> bool:
    """The member was told the same deadline: it may be first to say so, in words or by cancelling the stream."""
    code, text = end
    timed_out = end in {
        ("UNAVAILABLE", "etcdserver: request timed out"),
        ("UNKNOWN", "context deadline exceeded"),  # 3.4, where its own context was first
    }
    return code == "DEADLINE_EXCEEDED" or timed_out or (code == "CANCELLED" and "RST_STREAM" in text)


async def test_without_quorum_deadlines_pass_and_the_connection_stays(bench: Bench) -> None:
    async with both(bench.cluster.endpoints[0]) as channels:
        ours = channels[0]
        await works_again(ours)
        made = set(ours._connections)
        with without_quorum(bench):
            for channel in channels:
                assert too_late((await ended(channel, Method.PUT, put("x"), 0.5))[0])
        await works_again(ours)
        assert ours._connections == made


class EverySecond(Keepalive):
    """The control: pings as if nobody counted them."""

    def answered(self) -> None:
        self._pings = -1000

    def heard(self) -> None:
        super().heard()
        self._pings = -1000


def start_with_etcds_own_keepalive(bench: Bench, name: str) -> None:
    """Start the member again as ``Cluster`` does, without ``--grpc-keepalive-min-time``: 5 s."""
    started = bench.cluster.processes[name].args
    assert isinstance(started, list)
    at = started.index("--grpc-keepalive-min-time")
    bench.cluster.processes[name] = subprocess.Popen(
        [*started[:at], *started[at + 2 :]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


async def test_pings_do_not_anger_a_member_that_cannot_answer(bench: Bench) -> None:
    endpoint = bench.cluster.endpoints[0]
    await bench.cluster.kill("m1")
    start_with_etcds_own_keepalive(bench, "m1")
    ours, naive = H2Channel(endpoint), H2Channel(endpoint)
    try:
        await works_again(ours)
        await works_again(naive)
        [connection] = naive._connections
        connection._keepalive = EverySecond()
        connection._keepalive.answered()
        with without_quorum(bench):
            careful, rude = await asyncio.gather(
                ended(ours, Method.PUT, put("x"), 5.5), ended(naive, Method.PUT, put("x"), 5.5)
            )
        assert rude[0][0] == "UNAVAILABLE"
        assert "too_many_pings" in rude[0][1]
        assert too_late(careful[0])
    finally:
        await ours.close()
        await naive.close()
