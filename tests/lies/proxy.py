"""The proxy: every call of a client goes through it to a member, and may be bent on the way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

KEEPALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
"""A stream, on which each request has one answer: lies see it as a call."""

MESSAGES: dict[str, tuple[type[Message], type[Message]]] = {
    Method.PUT: (pb.PutRequest, pb.PutResponse),
    Method.RANGE: (pb.RangeRequest, pb.RangeResponse),
    Method.DELETE_RANGE: (pb.DeleteRangeRequest, pb.DeleteRangeResponse),
    Method.TXN: (pb.TxnRequest, pb.TxnResponse),
    Method.COMPACT: (pb.CompactionRequest, pb.CompactionResponse),
    Method.LEASE_GRANT: (pb.LeaseGrantRequest, pb.LeaseGrantResponse),
    Method.LEASE_REVOKE: (pb.LeaseRevokeRequest, pb.LeaseRevokeResponse),
    Method.LEASE_TTL: (pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse),
    KEEPALIVE: (pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse),
    Method.HASH_KV: (pb.HashKVRequest, pb.HashKVResponse),
    Method.STATUS: (pb.StatusRequest, pb.StatusResponse),
}
"""Calls that a lie may see; all others pass as the bytes they are."""

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_ping_strikes", 0),  # clients ask once a second whether their connection lives
)
_WATCH = "/etcdserverpb.Watch/Watch"
_RENEWAL_SECONDS = 5.0
"""For what a lie asks the member beside a renewal."""


class Lie:
    """An honest store; kinds of lies override what they bend.

    One object stands behind the proxies of all members: what it remembers is known to all of them.
    """

    member: str | None = None
    """Whose proxy lies; ``None``: all do."""

    def __init__(self) -> None:
        self.told = 0
        """How often it was told."""
        self.seen = 0
        """Calls so far."""

    @property
    def is_ready(self) -> bool:
        """Whether there is a past to lie about: what is older than the first answers, nobody can judge."""
        return self.seen > 40

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        """One call or renewal. ``forward`` asks the member; it takes any unary method and may be called at will."""
        return await forward(method, request)

    def watched(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        """What a watcher is told in place of one response."""
        return [response]

    def asked(self, stream: WatchState, request: pb.WatchRequest) -> pb.WatchRequest:
        """What a member is asked in place of a watcher's request."""
        return request


class RefusedError(Exception):
    """The lie answers with an error."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass
class WatchState:
    """One stream of a watcher."""

    member: str
    request: pb.WatchCreateRequest | None = None
    """What it asked for."""
    sent: list[pb.WatchResponse] = field(default_factory=list)
    """The last responses with changes."""


class Forward:
    """Asks the real member."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float | None) -> None:
        self._channel = channel
        self._timeout = timeout

    async def __call__(self, method: str, request: Message) -> Message:
        answer = await self.bytes(method, request.SerializeToString())
        return MESSAGES[method][1].FromString(answer)

    async def bytes(self, method: str, request: bytes) -> bytes:
        return await self._channel.unary_unary(method)(request, timeout=self._timeout)


class Renewing(Forward):
    """The same for a stream of renewals, which go over a stream to the member."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel, _RENEWAL_SECONDS)
        self._renewals = channel.stream_stream(KEEPALIVE)()

    async def bytes(self, method: str, request: bytes) -> bytes:
        if method != KEEPALIVE:
            return await super().bytes(method, request)
        await self._renewals.write(request)
        answer = await self._renewals.read()
        if not isinstance(answer, bytes):
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, "the member ended the stream of renewals")
        return answer

    def close(self) -> None:
        self._renewals.cancel()


class Proxy(grpc.GenericRpcHandler):
    """Listens at ``listen``, forwards to ``member_address``."""

    def __init__(self, member: str, listen: str, member_address: str) -> None:
        self.member = member
        self.lie = Lie()
        self._listen = listen
        self._address = member_address

    async def start(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        self._server = grpc.aio.server(handlers=(self,), options=_OPTIONS)
        assert self._server.add_insecure_port(self._listen)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)
        await self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        if method in {_WATCH, KEEPALIVE}:
            answers = self._watch if method == _WATCH else self._renewals

            async def stream(
                requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
            ) -> AsyncIterator[bytes]:
                async with _refusing(context):
                    async for answer in answers(requests):
                        yield answer

            return grpc.stream_stream_rpc_method_handler(stream)

        async def unary(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            async with _refusing(context):
                return await self._call(method, request, Forward(self._channel, context.time_remaining()))

        return grpc.unary_unary_rpc_method_handler(unary)

    async def _call(self, method: str, request: bytes, forward: Forward) -> bytes:
        if method not in MESSAGES:
            return await forward.bytes(method, request)
        self.lie.seen += 1
        if not self.lie.is_ready:
            return await forward.bytes(method, request)
        answer = await self.lie.call(self.member, method, MESSAGES[method][0].FromString(request), forward)
        return answer.SerializeToString()

    async def _renewals(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        forward = Renewing(self._channel)
        try:
            async for request in requests:
                yield await self._call(KEEPALIVE, request, forward)
        finally:
            forward.close()

    async def _watch(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        state = WatchState(self.member)
        call = self._channel.stream_stream(_WATCH)()
        pump = asyncio.create_task(self._pump(state, requests, call.write))
        try:
            while isinstance(answer := await call.read(), bytes):
                if not self.lie.is_ready:
                    yield answer
                    continue
                for told in self.lie.watched(state, pb.WatchResponse.FromString(answer)):
                    if told.events:
                        state.sent = [*state.sent[-20:], told]
                    yield told.SerializeToString()
        finally:
            pump.cancel()
            call.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(
        self, state: WatchState, requests: AsyncIterator[bytes], write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        async for request in requests:
            asked = pb.WatchRequest.FromString(request)
            if asked.HasField("create_request"):
                state.request = asked.create_request
            await write(self.lie.asked(state, asked).SerializeToString())


@asynccontextmanager
async def _refusing(context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[None]:
    """What the member or a lie refuses is refused to the client."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        await context.abort(error.code(), error.details() or "")
    except RefusedError as refused:
        await context.abort(refused.code, refused.text)
