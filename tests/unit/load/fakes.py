"""A member that answers from memory, and a place to record to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Connect, Method
from tester.etcd.endpoint import Endpoint

if TYPE_CHECKING:
    from tester.history.records import HistoryRecord

Answer = Callable[[Method, bytes], Awaitable[bytes]]

ENDPOINTS = [Endpoint(f"m{place}", f"127.0.0.{place}", 2379) for place in (1, 2, 3)]


class FakeChannel:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.calls: list[tuple[Method, bytes]] = []
        self.closed = False

    async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        self.calls.append((method, request))
        return await self.answer(method, request)

    async def close(self) -> None:
        self.closed = True


class Sink:
    """Stands in for a ``HistoryWriter``."""

    def __init__(self) -> None:
        self.records: list[HistoryRecord] = []

    def write(self, record: HistoryRecord) -> None:
        self.records.append(record)

    def check(self) -> None: ...


def connect_to(channels: dict[str, FakeChannel], answer: Answer) -> Connect:
    def connect(endpoint: Endpoint) -> FakeChannel:
        return channels.setdefault(endpoint.member, FakeChannel(answer))

    return connect


class Member:
    """Answers every KV request at once, one revision further each time."""

    def __init__(self) -> None:
        self.revision = 1

    async def __call__(self, method: Method, request: bytes) -> bytes:
        await asyncio.sleep(0)
        self.revision += 1
        header = pb.ResponseHeader(revision=self.revision, raft_term=2)
        response = {
            Method.PUT: pb.PutResponse,
            Method.RANGE: pb.RangeResponse,
            Method.DELETE_RANGE: pb.DeleteRangeResponse,
        }.get(method)
        if response is not None:
            return bytes(response(header=header).SerializeToString())
        return bytes(
            pb.TxnResponse(
                header=header,
                succeeded=True,
                responses=[pb.ResponseOp(response_put=pb.PutResponse(header=header))],
            ).SerializeToString()
        )
