"""An invocation is in the kernel before its request leaves: a server looks when the request arrives."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester import loop
from tester.clock import RunClock
from tester.etcd.endpoint import Endpoint
from tester.etcd.grpc_channel import GrpcChannel
from tester.history.writer import HistoryWriter
from tester.load.client import Client, Shared
from tester.load.kinds import OperationKind
from tester.load.operations import Mix, OperationSource
from tester.load.pacer import Pacer
from tester.load.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUTS = Mix(weights=((OperationKind.PUT, 1.0),), keys=100, value_size=30)


class Witness:
    """A gRPC server that looks for each written value in the history file when the request is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = self.unknown = 0

    def put(self, request: pb.PutRequest, context: grpc.ServicerContext) -> pb.PutResponse:
        identifier = request.value.split(b":")[0]
        if b'"v":"' + identifier + b":" in self.path.read_bytes():
            self.known += 1
        else:
            self.unknown += 1
        return pb.PutResponse()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[tuple[Witness, int]]:
    seen = Witness(tmp_path / "h.jsonl")
    handler = grpc.unary_unary_rpc_method_handler(
        seen.put,
        request_deserializer=pb.PutRequest.FromString,
        response_serializer=pb.PutResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("etcdserverpb.KV", {"Put": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield seen, port
    server.stop(None).wait()


async def load_it(kind: type[HistoryWriter], seen: Witness, port: int) -> None:
    writer = kind(seen.path)
    channel = GrpcChannel(Endpoint("m", "127.0.0.1", port))
    shared = Shared(writer, RunClock(), Statistics(), count(1), asyncio.Event())
    shared.gate.set()
    ids = count(1)
    tasks = [
        asyncio.create_task(
            Client(n, "m", channel, 5.0, shared).run(
                OperationSource(PUTS, "p/", Random(n), ids, count(1)), Pacer(None)
            )
        )
        for n in range(8)
    ]
    async with asyncio.timeout(60):
        while seen.known + seen.unknown <= 40:  # noqa: ASYNC110 - counted on another thread
            await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await channel.close()
    await writer.close()


def test_the_invocation_is_in_the_file_when_the_request_arrives(witness: tuple[Witness, int]) -> None:
    seen, port = witness
    loop.run(load_it(HistoryWriter, seen, port))
    assert seen.unknown == 0
    assert seen.known > 20


class Lazy(HistoryWriter):
    """Flushes a moment later: the control."""

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_later(0.05, self.flush)


def test_the_witness_notices_a_writer_that_is_late(witness: tuple[Witness, int]) -> None:
    seen, port = witness
    loop.run(load_it(Lazy, seen, port))
    assert seen.unknown > 0
