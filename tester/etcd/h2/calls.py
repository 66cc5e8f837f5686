"""One unary call: its request, what has arrived of the answer, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.h2 import status

if TYPE_CHECKING:
    import asyncio

    from tester.etcd.h2.connection import Connection
    from tester.etcd.h2.headers import Head

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
PREFIX_BYTES = 5
"""Before every gRPC message: a flag (compressed) and four bytes of length."""


class Call:
    """A call from its request to its end. ``stream`` is 0 until its first frame leaves for the transport."""

    __slots__ = ("block", "deadline", "future", "head", "owner", "received", "request", "stream", "unacked")

    def __init__(self, block: bytes, request: bytes, deadline: float, future: asyncio.Future[bytes]) -> None:
        self.block = block
        self.request = request
        self.deadline = deadline
        """On the clock of the event loop."""
        self.future = future
        self.owner: Connection | None = None
        """The connection that has it, once there is one."""
        self.stream = 0
        self.head: Head | None = None
        """The header block before the message, once it is here."""
        self.received: bytes | bytearray = b""
        """The message so far, with its prefix."""
        self.unacked = 0
        """Bytes received on the stream for which the peer got no new window yet."""

    @property
    def body(self) -> bytes:
        """The request as gRPC frames it."""
        return b"\x00" + len(self.request).to_bytes(4) + self.request

    @property
    def sent(self) -> bool:
        """Whether the member can know of the call."""
        return self.stream != 0

    def succeed(self, message: bytes) -> None:
        """End the call with its answer, unless it has ended."""
        if not self.future.done():
            self.future.set_result(message)

    def fail(self, error: RpcError) -> None:
        """End the call with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)

    def add(self, data: bytes) -> RpcError | None:
        """Take in a piece of the message; an error if it is more than was announced or is allowed."""
        if not self.received:
            self.received = data
        else:
            if isinstance(self.received, bytes):
                self.received = bytearray(self.received)
            self.received += data
        if len(self.received) < PREFIX_BYTES:
            return None
        announced = int.from_bytes(self.received[1:PREFIX_BYTES])
        if announced > MAX_MESSAGE_BYTES:
            text = f"the answer has {announced} bytes, more than {MAX_MESSAGE_BYTES}"
            return RpcError(StatusCode.RESOURCE_EXHAUSTED, text)
        if len(self.received) > announced + PREFIX_BYTES:
            return RpcError(StatusCode.INTERNAL, "the answer has more bytes than it announced")
        return None

    def finish(self, trailers: Head) -> None:
        """End the call with what the last header block says."""
        if trailers.grpc_status == 0:
            self._deliver()
        elif trailers.grpc_status is not None:
            self.fail(status.from_trailers(trailers.grpc_status, trailers.grpc_message))
        else:
            self.fail(status.from_http(self._http_status(trailers)))

    def _http_status(self, trailers: Head) -> int:
        first = self.head or trailers
        return first.http_status or 0

    def _deliver(self) -> None:
        received = self.received
        if len(received) < PREFIX_BYTES or len(received) - PREFIX_BYTES != int.from_bytes(received[1:5]):
            self.fail(RpcError(StatusCode.INTERNAL, "the member said OK without a whole answer"))
        elif received[0] != 0:
            self.fail(RpcError(StatusCode.INTERNAL, "the answer is compressed, which was not asked for"))
        else:
            self.succeed(bytes(received[PREFIX_BYTES:]))
