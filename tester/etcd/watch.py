"""One watch stream to one member, over grpc.aio."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import grpc.aio
from etcd3.etcdrpc import rpc_pb2 as pb
from google.protobuf.unknown_fields import UnknownFieldSet

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.grpc_channel import rpc_error
from tester.etcd.streams import ended_by_goaway, own_connection, own_token, unless_left

if TYPE_CHECKING:
    from types import TracebackType

    from tester.etcd.endpoint import Endpoint

_METHOD = "/etcdserverpb.Watch/Watch"

_FILTERS = {"put": pb.WatchCreateRequest.NOPUT, "delete": pb.WatchCreateRequest.NODELETE}

# Newer than the stubs: field 8 of the request asks for fragments, field 7 of an answer says that it is one
# and more follows. Both are a bool.
_FRAGMENT = bytes([8 << 3, 1])
_FRAGMENT_FIELD = 7


@dataclass(frozen=True, slots=True)
class View:
    """What of the changes a watch is told, and how."""

    prev_kv: bool = False
    """With the key as it was before."""
    filters: tuple[Literal["put", "delete"], ...] = ()
    """Kinds that are left out."""
    fragment: bool = False
    """An answer larger than etcd's limit of a request comes in several messages."""


EVERYTHING = View()


class WatchStream:
    """A stream with a connection of its own, so that a new one starts without anybody's backoff.

    Enter it as an async context manager; leaving it ends stream and connection.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._fragments = False
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
        await self._stack.enter_async_context(ended_by_goaway(channel, self._stream))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.cancel()
        await self._stack.aclose()

    async def create(self, key: str, range_end: bytes, revision: int, view: View = EVERYTHING) -> None:
        """Ask for the changes in ``[key, range_end)`` from ``revision`` on.

        Raises:
            RpcError: the stream has ended.
        """
        create = pb.WatchCreateRequest(
            key=key.encode(),
            range_end=range_end,
            start_revision=revision,
            prev_kv=view.prev_kv,
            filters=[_FILTERS[kind] for kind in view.filters],
        )
        self._fragments = view.fragment
        if view.fragment:
            create.MergeFromString(_FRAGMENT)
        await self._write(pb.WatchRequest(create_request=create))

    async def request_progress(self) -> None:
        """Ask for a progress notification: silence after it means that the stream stalls.

        Raises:
            RpcError: the stream has ended.
        """
        await self._write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def cancel(self, watch_id: int) -> None:
        """Ask for the end of a watch; the member confirms it with a message.

        Raises:
            RpcError: the stream has ended.
        """
        cancel = pb.WatchCancelRequest(watch_id=watch_id)
        await self._write(pb.WatchRequest(cancel_request=cancel))

    async def read(self) -> pb.WatchResponse:
        """The next message, put together if it came in fragments. Cancelling it ends the stream.

        Raises:
            RpcError: the stream has ended.
        """
        whole = await self._message()
        if not self._fragments:
            return whole
        last = whole
        while _goes_on(last):
            last = await self._message()
            whole.events.extend(last.events)
        return whole

    async def _message(self) -> pb.WatchResponse:
        try:
            with unless_left("watch stream"):
                message = await self._stream.read()
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error) from None
        if isinstance(message, pb.WatchResponse):
            return message
        raise RpcError(StatusCode.UNAVAILABLE, "the member ended the watch stream")

    async def _write(self, request: pb.WatchRequest) -> None:
        try:
            with unless_left("watch stream"):
                await self._stream.write(request)
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error) from None
        except asyncio.InvalidStateError as error:
            raise RpcError(StatusCode.UNAVAILABLE, "the watch stream has ended") from error


def _goes_on(message: pb.WatchResponse) -> bool:
    unknown = UnknownFieldSet(message)
    return any(unknown[place].field_number == _FRAGMENT_FIELD for place in range(len(unknown)))
