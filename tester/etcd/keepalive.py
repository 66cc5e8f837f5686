"""Renewals of leases to one member: a stream over grpc.aio, asked one at a time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.grpc_channel import rpc_error
from tester.etcd.streams import ended_by_goaway, own_connection, own_token, unless_left

if TYPE_CHECKING:
    from tester.etcd.endpoint import Endpoint

_METHOD = "/etcdserverpb.Lease/LeaseKeepAlive"


@dataclass(frozen=True, slots=True)
class _Open:
    """A stream and the connection it has for itself."""

    connection: AsyncExitStack
    stream: grpc.aio.StreamStreamCall[bytes, bytes]


class KeepAliveStream:
    """Opened by the first renewal, and anew by the first after it was lost.

    An answer belongs to the request before it. Where one did not come, the stream is given up: what comes
    late must not be taken for the answer to the next request.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._open: _Open | None = None
        self._busy = asyncio.Lock()

    async def call(self, request: bytes, timeout_seconds: float) -> bytes:
        """One renewal; callers at the same time wait for each other, within their own deadlines.

        Raises:
            RpcError: the member, the connection or the deadline answered instead.
        """
        try:
            async with asyncio.timeout(timeout_seconds), self._busy:
                return await self._exchange(request)
        except TimeoutError:
            raise RpcError(StatusCode.DEADLINE_EXCEEDED, "no answer to a renewal") from None

    async def close(self) -> None:
        """End the stream. A later renewal would open another."""
        if (opened := self._open) is not None:
            self._open = None
            opened.stream.cancel()
            # The stream's own end by cancellation is none of the caller's.
            with suppress(RpcError), unless_left("stream of renewals"):
                await opened.connection.aclose()

    async def _exchange(self, request: bytes) -> bytes:
        opened = self._open = self._open or await self._connect()
        answered = False
        try:
            await asyncio.sleep(0)  # what the history has to say of it is handed to the kernel before
            with unless_left("stream of renewals"):
                await opened.stream.write(request)
                message = await opened.stream.read()
            if not isinstance(message, bytes):
                raise RpcError(StatusCode.UNAVAILABLE, "the member ended the stream of renewals")
            answered = True
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error) from None
        except asyncio.InvalidStateError as error:
            raise RpcError(StatusCode.UNAVAILABLE, "the stream of renewals has ended") from error
        else:
            return message
        finally:
            if not answered:
                self._give_up(opened)

    async def _connect(self) -> _Open:
        metadata = await own_token(self._endpoint)
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(own_connection(self._endpoint))
            call = channel.stream_stream(_METHOD, None, None)(None, metadata=metadata)
            await stack.enter_async_context(ended_by_goaway(channel, call))
            return _Open(stack.pop_all(), call)

    def _give_up(self, opened: _Open) -> None:
        if self._open is opened:
            self._open = None
        opened.stream.cancel()
        closing = asyncio.get_running_loop().create_task(opened.connection.aclose())
        closing.add_done_callback(lambda done: done.cancelled() or done.exception())
