"""HTTP/1.1 over mutual TLS on asyncio, behind httpx's transport seam.

httpx's own network transport spends most of an agent call's time; this one costs a fraction of it. It does
what agents need and nothing else: connections that are kept, one request at a time on each, and a bound on
their number.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, cast

import httptools
import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MAX_CONNECTIONS = 16
CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 20.0
"""Shorter than the agent's own, so that it is never the agent that hangs up on a request."""

_MAX_BUFFERED_BYTES = 256 * 1024
_MISDIRECTED = 421


class TlsTransport(httpx.AsyncBaseTransport):
    """Connections to agents.

    Deadlines are the caller's (``asyncio.timeout``), but for connecting; a cancelled request closes its
    connection. ``handle_async_request`` raises ``httpx.TransportError``, or ``ssl.SSLError`` for a handshake.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._idle: list[_Link] = []
        self._epoch = 0
        """Connections of an earlier one are not used again."""
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the head of its answer. The body has to be read or closed."""
        await self._slots.acquire()
        try:
            link = await self._ask(request)
        except BaseException:
            self._slots.release()
            raise
        answer = link.answer
        if answer.status == _MISDIRECTED:
            self._epoch += (
                1  # the others were verified by the same CAs, which the agent does not trust any more
            )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(link, self._give_back))

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().close()

    async def _ask(self, request: httpx.Request) -> _Link:
        if not isinstance(request.stream, httpx.ByteStream):
            if not isinstance(request.stream, httpx.AsyncByteStream):
                raise TypeError("a body is bytes, or comes asynchronously")
            link = await self._connect(request.url)  # what has been sent of it cannot be sent again
            await link.ask_with(_encode(request, b""), request.stream)
            return link
        message = _encode(request, request.content)
        idle = self._reusable()
        if idle is not None:
            try:
                await idle.ask(message)
            except httpx.ReadError:
                if request.method != "GET":  # the agent may have acted before it hung up
                    raise
            else:
                return idle
        link = await self._connect(request.url)
        await link.ask(message)
        return link

    def _reusable(self) -> _Link | None:
        while self._idle:
            link = self._idle.pop()
            if link.epoch == self._epoch and link.is_fresh():
                return link
            link.abort()
        return None

    async def _connect(self, url: httpx.URL) -> _Link:
        loop, epoch = asyncio.get_running_loop(), self._epoch
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, link = await loop.create_connection(_Link, url.host, url.port or 443, ssl=self._context)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {CONNECT_SECONDS:g} s") from error
        except ssl.SSLError:
            raise
        except OSError as error:
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        link.epoch = epoch
        return link

    def _give_back(self, link: _Link) -> None:
        self._slots.release()
        if link.is_reusable():
            self._idle.append(link)
        else:
            link.abort()


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it gives the connection back."""

    def __init__(self, link: _Link, give_back: Callable[[_Link], None]) -> None:
        self._link = link
        self._give_back: Callable[[_Link], None] | None = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._link.read():
            yield chunk

    async def aclose(self) -> None:
        if self._give_back is not None:
            self._give_back(self._link)
            self._give_back = None


class _Answer:
    """Callbacks of the parser, and what they have gathered."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.body = bytearray()
        self.more = asyncio.Event()
        self.error: httpx.TransportError | None = None
        self.begun = False
        self.complete = False
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.keep_alive = self.parser.should_keep_alive()
        if not self.head.done():
            self.head.set_result(None)

    def on_body(self, body: bytes) -> None:
        self.body += body
        self.more.set()

    def on_message_complete(self) -> None:
        self.complete = True
        self.more.set()

    def lost(self, reason: Exception | None) -> None:
        if self.begun:
            self.fail(httpx.RemoteProtocolError("the answer was cut short"))
        else:
            self.fail(httpx.ReadError(str(reason or "the connection was lost before an answer came")))

    def fail(self, error: httpx.TransportError) -> None:
        if not self.head.done():
            self.head.set_exception(error)
        self.error = error
        self.more.set()


class _Link(asyncio.Protocol):
    """One connection, one request at a time."""

    answer: _Answer
    epoch = 0

    def __init__(self) -> None:
        self._closed = asyncio.get_running_loop().create_future()
        self._asked = False
        self._used_at = 0.0
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._asked and not self.answer.complete:
            self.answer.lost(exc)
        if not self._closed.done():
            self._closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._asked or self.answer.complete:
            self.abort()  # nobody asked for this
            return
        self.answer.begun = True
        try:
            self.answer.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.answer.fail(httpx.RemoteProtocolError(f"the answer is not HTTP: {error}"))
            self.abort()
        if len(self.answer.body) > _MAX_BUFFERED_BYTES:
            self._transport.pause_reading()

    async def ask(self, message: bytes) -> None:
        """Send a request and wait for the head of its answer."""
        self._begin(message)
        await self._head()

    async def ask_with(self, head: bytes, body: httpx.AsyncByteStream) -> None:
        """The same with a body that comes piece by piece; an answer that comes before its end is the answer."""
        self._begin(head)
        try:
            async for piece in body:
                if self.answer.head.done():
                    break
                self._transport.write(piece)
                await self._writable.wait()
        except BaseException:
            self.answer.head.cancel()
            self.abort()
            raise
        await self._head()

    def _begin(self, message: bytes) -> None:
        self.answer, self._asked = _Answer(), True
        self._transport.write(message)

    async def _head(self) -> None:
        try:
            await self.answer.head
        except BaseException:
            self.abort()
            raise

    async def read(self) -> bytes:
        """More of the body; nothing at its end."""
        answer = self.answer
        while not answer.body and not answer.complete:
            if answer.error is not None:
                raise answer.error
            answer.more.clear()
            await answer.more.wait()
        chunk = bytes(answer.body)
        answer.body.clear()
        self._transport.resume_reading()
        return chunk

    def is_reusable(self) -> bool:
        """Whether the answer is all there and the agent keeps the connection; it is idle from now on."""
        self._used_at = time.monotonic()
        return self.answer.complete and self.answer.keep_alive and self.is_fresh()

    def is_fresh(self) -> bool:
        """Whether the agent still waits for a request at the other end."""
        return not self._transport.is_closing() and time.monotonic() - self._used_at < KEEP_ALIVE_SECONDS

    def abort(self) -> None:
        """Hang up."""
        self._transport.abort()

    async def close(self) -> None:
        """Hang up, and wait until that is done."""
        self.abort()
        await self._closed


def _encode(request: httpx.Request, body: bytes) -> bytes:
    lines = [request.method.encode("ascii") + b" " + request.url.raw_path + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers.raw]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
