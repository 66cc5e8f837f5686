"""An invocation is in the kernel before its request leaves: a server looks when the request arrives."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester import loop
from tester.clock import RunClock
from tester.etcd.connect import connect_h2
from tester.etcd.endpoint import Endpoint
from tester.etcd.h2.outbox import Outbox
from tester.history.writer import HistoryWriter
from tester.load.channels import channels_of
from tester.load.client import Client, Shared
from tester.load.kinds import OperationKind
from tester.load.operations import Mix, OperationSource
from tester.load.pacer import Pacer
from tester.load.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tester.etcd.channel import Connect

PUTS = Mix(weights=((OperationKind.PUT, 1.0),), keys=100, value_size=30)
_WRITTEN = re.compile(rb"\x12\x1e([0-9]+):", re.DOTALL)
"""The beginning of a value of thirty bytes in a request."""
_STREAMS = 3
"""So few at once, of eight clients: the others' requests wait in the channel."""


class Witness:
    """A gRPC server that looks for each written value in the history file when the request is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = self.unknown = 0

    def put(self, request: pb.PutRequest, context: grpc.ServicerContext) -> pb.PutResponse:
        self.look(request.value.split(b":")[0])
        return pb.PutResponse()

    def look(self, identifier: bytes) -> None:
        """Whether the file has this value now."""
        if b'"v":"' + identifier + b":" in self.path.read_bytes():
            self.known += 1
        else:
            self.unknown += 1


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[tuple[Witness, int]]:
    seen = Witness(tmp_path / "h.jsonl")
    handler = grpc.unary_unary_rpc_method_handler(
        seen.put,
        request_deserializer=pb.PutRequest.FromString,
        response_serializer=pb.PutResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_concurrent_streams", _STREAMS)])
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("etcdserverpb.KV", {"Put": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield seen, port
    server.stop(None).wait()


async def load_it(
    kind: type[HistoryWriter], connect: Callable[[HistoryWriter], Connect], seen: Witness, port: int
) -> None:
    writer = kind(seen.path)
    channel = connect(writer)(Endpoint("m", "127.0.0.1", port))
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


OVER = {name: partial(channels_of, over_grpc=name == "grpc") for name in ("grpc", "h2")}
"""As rounds and workers connect their clients."""


@pytest.mark.parametrize("transport", OVER)
def test_the_invocation_is_in_the_file_when_the_request_arrives(
    witness: tuple[Witness, int], transport: str
) -> None:
    seen, port = witness
    loop.run(load_it(HistoryWriter, OVER[transport], seen, port))
    assert seen.unknown == 0
    assert seen.known > 20


class Lazy(HistoryWriter):
    """Flushes a moment later: the control."""

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_later(0.05, self.flush)


def unasked(writer: HistoryWriter) -> Connect:
    """The control of our own channel: it sends without a word to the writer."""
    return connect_h2


@pytest.mark.parametrize("connect", [OVER["grpc"], unasked])
def test_the_witness_notices_a_writer_that_is_late(
    witness: tuple[Witness, int], connect: Callable[[HistoryWriter], Connect]
) -> None:
    seen, port = witness
    loop.run(load_it(Lazy, connect, seen, port))
    assert seen.unknown > 0


def test_our_own_channel_waits_for_no_writer(witness: tuple[Witness, int]) -> None:
    seen, port = witness
    loop.run(load_it(Lazy, OVER["h2"], seen, port))
    assert seen.unknown == 0


@pytest.mark.parametrize("connect", [OVER["h2"], unasked])
def test_the_invocation_is_in_the_file_when_the_request_leaves(
    witness: tuple[Witness, int],
    connect: Callable[[HistoryWriter], Connect],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where streams are few, a request leaves when another has ended, perhaps before the writer has its turn.

    This writer's turn never comes in time: it is the channel that has it written.
    """
    seen, port = witness
    leaving = Witness(seen.path)
    write = Outbox._write

    def look_and_write(outbox: Outbox, transport: asyncio.Transport) -> None:
        for identifier in _WRITTEN.findall(b"".join(outbox._out)):
            leaving.look(identifier)
        write(outbox, transport)

    monkeypatch.setattr(Outbox, "_write", look_and_write)
    loop.run(load_it(Lazy, connect, seen, port))
    assert leaving.known + leaving.unknown > 20
    assert (leaving.unknown == 0) is (connect is not unasked)
