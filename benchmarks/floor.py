"""What this machine gives at best: unary calls over HTTP/2 with nothing around them, as a control for the load.

No status, no flow control of the peer, no deadlines, no TLS, no reconnection, no history: a member that does anything
but answer stops the measurement. Only for benchmarks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tester.etcd.h2 import frames
from tester.etcd.h2.headers import RequestHeaders

if TYPE_CHECKING:
    from tester.etcd.channel import Method
    from tester.etcd.endpoint import Endpoint

_WINDOW = 2**30
_TIMEOUT_SECONDS = 5.0
_HEADERS, _LAST_DATA = bytes((frames.HEADERS, frames.END_HEADERS)), bytes((frames.DATA, frames.END_STREAM))


class Bare(asyncio.Protocol):
    """One connection; answers come to the future that ``call`` gave."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._loop = asyncio.get_running_loop()
        self._headers = RequestHeaders(endpoint.authority, tls=False, token=None)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._answers: dict[int, bytes] = {}
        self._stream = -1
        self._out: list[bytes] = []
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, with windows that no measurement exhausts."""
        self._transport = cast("asyncio.Transport", transport)
        greeting = frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: _WINDOW})
        self._transport.write(frames.PREFACE + greeting + frames.window_update(0, _WINDOW))

    def call(self, method: Method, request: bytes) -> asyncio.Future[bytes]:
        """Send with whatever else is asked in this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._stream += 2
        number, block, size = (
            self._stream.to_bytes(4),
            self._headers.block(method, _TIMEOUT_SECONDS),
            len(request),
        )
        self._out += (len(block).to_bytes(3), _HEADERS, number, block)
        self._out += ((size + 5).to_bytes(3), _LAST_DATA, number, b"\0", size.to_bytes(4), request)
        future = self._waiting[self._stream] = self._loop.create_future()
        return future

    def close(self) -> None:
        """Break off."""
        self._transport.abort()

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        """Hand out answers."""
        data, at = self._rest + data, 0
        while len(data) - at >= frames.HEADER_BYTES:
            word, flags, stream = frames.unpack_header(data, at)
            kind, start = word & 0xFF, at + frames.HEADER_BYTES
            end = start + (word >> 8)
            if end > len(data):
                break
            if kind == frames.DATA:
                self._answers[stream] = data[start + 5 : end]
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                self._answer(stream)
            elif kind in {frames.PING, frames.SETTINGS} and not flags & frames.ACK:
                payload = data[start:end] if kind == frames.PING else b""
                self._transport.write(frames.frame(kind, frames.ACK, 0, payload))
            at = end
        self._rest = data[at:]

    def _answer(self, stream: int) -> None:
        waiting = self._waiting.pop(stream)
        if not waiting.done():
            waiting.set_result(self._answers.pop(stream))


async def connect(endpoint: Endpoint) -> Bare:
    """A connection that has said hello."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(lambda: Bare(endpoint), endpoint.address, endpoint.port)
    return made
