"""HTTP on one connection: uvicorn's httptools protocol, with the client's name and bounds of our own."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent_service.gate import STREAMED
from agent_service.identity import Caller, set_caller
from agent_service.problems import MEDIA_TYPE, problem
from agent_service.tls import subject_name

if TYPE_CHECKING:
    import asyncio

HEAD_SECONDS = 10.0
"""From the first byte of a request (or the handshake) to the end of its headers."""
MAX_HEAD_BYTES = 32 * 1024
MAX_MESSAGE_BYTES = 512 * 1024
"""Of a whole request on the wire: with a body in the smallest chunks, and what may follow it as trailers. The body of a
snapshot is the gate's to bound."""
MAX_CONNECTIONS = 256


class AgentProtocol(HttpToolsProtocol):
    """Tells every request who is calling; drops what is too slow or too large, and connections over the limit."""

    _caller: Caller | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _message_bytes = 0
    _streamed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is done."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self.logger.warning("more than %d connections: one is dropped", MAX_CONNECTIONS)
            transport.abort()
            return
        self._caller = _verified_caller(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self._message_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._message_bytes > MAX_HEAD_BYTES:
            self._drop("a request head is too large")
        elif self._message_bytes > MAX_MESSAGE_BYTES:
            self._drop("a request is too large")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        set_caller(self.scope, self._caller)  # type: ignore[arg-type]
        self._await_head()

    def on_headers_complete(self) -> None:
        """A request's head is there."""
        self._head_arrived()
        super().on_headers_complete()
        self._streamed = self.scope["method"] == "PUT" and self.scope.get("path", "").startswith(STREAMED)

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if self._streamed and not self.cycle.response_complete:  # whoever was refused has no more to send
            self._message_bytes -= len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        body = problem(400, msg).model_dump_json(exclude_none=True).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._head_arrived()
        self._message_bytes, self._streamed = 0, False
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._drop, "a request head is too slow")

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _drop(self, reason: str) -> None:
        name = self._caller.name if self._caller else "unknown"
        self.logger.warning("%s: the connection of %s is dropped", reason, name)
        self._head_arrived()
        self.transport.abort()


def _verified_caller(transport: asyncio.Transport) -> Caller | None:
    certificate = transport.get_extra_info("peercert")
    connection = transport.get_extra_info("ssl_object")
    name = subject_name(certificate) if certificate else None
    if name is None or not isinstance(connection, ssl.SSLObject):
        return None
    return Caller(name, connection.context)
