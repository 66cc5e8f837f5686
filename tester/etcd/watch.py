"""One watch stream to one member, over grpc.aio."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import grpc.aio
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.grpc_channel import rpc_error
from tester.etcd.streams import own_connection, own_token

if TYPE_CHECKING:
    from types import TracebackType

    from tester.etcd.endpoint import Endpoint

_METHOD = "/etcdserverpb.Watch/Watch"


class WatchStream:
    """A stream with a connection of its own, so that a new one starts without anybody's backoff.

    Enter it as an async context manager; leaving it ends stream and connection.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        metadata = await own_token(self._endpoint)
        channel = await self._stack.enter_async_context(own_connection(self._endpoint))
        open_stream = channel.stream_stream(
            _METHOD,
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        self._stream: grpc.aio.StreamStreamCall[pb.WatchRequest, pb.WatchResponse] = open_stream(
            None, metadata=metadata
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.cancel()
        await self._stack.aclose()

    async def create(self, key: str, range_end: bytes, revision: int) -> None:
        """Ask for every change in ``[key, range_end)`` from ``revision`` on.

        Raises:
            RpcError: the stream has ended.
        """
        create = pb.WatchCreateRequest(key=key.encode(), range_end=range_end, start_revision=revision)
        await self._write(pb.WatchRequest(create_request=create))

    async def request_progress(self) -> None:
        """Ask for a progress notification: silence after it means that the stream stalls.

        Raises:
            RpcError: the stream has ended.
        """
        await self._write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def read(self) -> pb.WatchResponse:
        """The next message. Cancelling it ends the stream.

        Raises:
            RpcError: the stream has ended.
        """
        try:
            message = await self._stream.read()
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error) from None
        if isinstance(message, pb.WatchResponse):
            return message
        raise RpcError(StatusCode.UNAVAILABLE, "the member ended the watch stream")

    async def _write(self, request: pb.WatchRequest) -> None:
        try:
            await self._stream.write(request)
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error) from None
        except asyncio.InvalidStateError as error:
            raise RpcError(StatusCode.UNAVAILABLE, "the watch stream has ended") from error
