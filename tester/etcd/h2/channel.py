"""``Channel`` over our own HTTP/2: connects, reconnects, keeps deadlines."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from tester.etcd.h2 import status
from tester.etcd.h2.calls import Call
from tester.etcd.h2.connection import Connection
from tester.etcd.h2.deadlines import Deadlines
from tester.etcd.h2.headers import RequestHeaders

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from tester.etcd.channel import Method
    from tester.etcd.endpoint import Endpoint

_CONNECT_SECONDS = 1.0
_BACKOFF_SECONDS = 0.1
_CLOSE_SECONDS = 1.5


class H2Channel:
    """One connection to one member.

    It connects when a call needs it. Calls wait for a connection that is being made, at most a second; if
    that fails they fail with UNAVAILABLE, as does every call of the next 0.1 s: a call is never sent twice,
    and never waits for a member that is not there. A call that was surely not processed raises
    ``NotProcessedError``, whose ``definite`` is true; one that was in flight when the connection was lost
    raises a plain ``RpcError``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        before_send: Callable[[], None] | None = None,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
    ) -> None:
        """Make the channel; must be called on a running event loop.

        Args:
            endpoint: of the member.
            before_send: called before new requests leave, once per turn of the loop: ``HistoryWriter.flush``.
                It must not raise.
            tls: speak TLS, with this context; the member must agree on ALPN ``h2``. Default: as the endpoint
                says.
            token: etcd's auth token, sent with every request.
        """
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._before_send = before_send
        if tls is None and endpoint.tls is not None:
            tls = endpoint.tls.context()
        self._tls = tls
        self._server_name = (endpoint.tls and endpoint.tls.server_name) or endpoint.address
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        self._headers = RequestHeaders(endpoint.authority, tls=tls is not None, token=token)
        self._deadlines = Deadlines(self._in_flight, self._expire)
        self._connection: Connection | None = None
        self._connections: set[Connection] = set()
        """All that are not closed, also those that only finish what is in flight."""
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[Call] = []
        self._failure = ""
        self._failed_until = 0.0
        self._closed = False

    def use_token(self, token: str | None) -> None:
        """See ``TokenChannel.use_token``."""
        self._headers = RequestHeaders(self._endpoint.authority, tls=self._tls is not None, token=token)

    async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        """See ``Channel.call``."""
        loop = self._loop
        deadline = loop.time() + timeout_seconds
        call = Call(self._headers.block(method, timeout_seconds), request, deadline, loop.create_future())
        connection = self._connection
        if connection is not None:
            call.owner = connection
            connection.submit(call)
        else:
            self._wait(call)
        if deadline < self._deadlines.earliest:
            self._deadlines.watch(deadline)
        try:
            return await call.future
        except asyncio.CancelledError:
            if call.owner is not None:
                call.owner.abandon(call)
            raise

    async def close(self) -> None:
        """See ``Channel.close``. A second call does nothing."""
        self._closed = True
        if (connecting := self._connecting) is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        for call in self._in_flight():
            call.fail(status.closed(sent=call.sent))
        self._deadlines.close()
        self._waiting.clear()
        connections = tuple(self._connections)
        for connection in connections:
            connection.close("the channel was closed")
        if connections:
            await asyncio.wait([connection.closed for connection in connections], timeout=_CLOSE_SECONDS)

    def _in_flight(self) -> Iterator[Call]:
        yield from self._waiting
        for connection in self._connections:
            yield from connection.in_flight()

    def _wait(self, call: Call) -> None:
        """There is no connection: wait for one, or fail while the last attempt's failure is fresh."""
        if self._closed:
            call.fail(status.closed(sent=False))
        elif self._connecting is None and self._loop.time() < self._failed_until:
            call.fail(status.not_sent(self._failure))
        else:
            self._waiting.append(call)
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await self._open()
                self._connections.add(connection)
                connection.closed.add_done_callback(partial(self._on_closed, connection))
                await connection.ready
        except (OSError, TimeoutError) as error:  # ssl.SSLError and ConnectionError are OSErrors
            if connection is not None:
                connection.close("it did not answer in time")
            self._fail_waiting(str(error) or f"{self._endpoint.authority} did not answer within a second")
        else:
            self._use(connection)
        finally:
            self._connecting = None

    async def _open(self) -> Connection:
        endpoint = self._endpoint
        transport, connection = await self._loop.create_connection(
            self._new_connection,
            endpoint.address,
            endpoint.port,
            ssl=self._tls,
            server_hostname=self._server_name if self._tls is not None else None,
        )
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.abort()
            raise ConnectionError(f"{endpoint.authority} does not speak h2 over TLS (ALPN)")
        return connection

    def _new_connection(self) -> Connection:
        return Connection(self._before_send, self._on_leaving)

    def _use(self, connection: Connection) -> None:
        if connection.leaving:  # it said GOAWAY, or broke, in the same breath as its SETTINGS
            self._fail_waiting("the member closed the connection at once")
            return
        self._connection = connection
        for call in self._waiting:
            call.owner = connection
            connection.submit(call)
        self._waiting.clear()

    def _fail_waiting(self, reason: str) -> None:
        self._failure = reason
        self._failed_until = self._loop.time() + _BACKOFF_SECONDS
        for call in self._waiting:
            call.fail(status.not_sent(reason))
        self._waiting.clear()

    def _on_leaving(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None

    def _on_closed(self, connection: Connection, _: asyncio.Future[None]) -> None:
        self._connections.discard(connection)

    def _expire(self, call: Call) -> None:
        call.fail(status.deadline_exceeded(sent=call.sent))
        if call.owner is not None:
            call.owner.abandon(call)
        else:
            with contextlib.suppress(ValueError):  # it failed already, in this turn
                self._waiting.remove(call)
