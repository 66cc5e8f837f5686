"""A gRPC-like server on the ``h2`` package: somebody else's reading of the RFC."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from tester.etcd.endpoint import Endpoint
from tester.etcd.h2 import H2Channel

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from h2.settings import SettingCodes

OK_HEAD = [(":status", "200"), ("content-type", "application/grpc")]


def message(payload: bytes) -> bytes:
    return b"\x00" + len(payload).to_bytes(4, "big") + payload


@dataclass
class Request:
    """One request, whole or so far."""

    stream: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def payload(self) -> bytes:
        return self.body[5:]


@dataclass
class Script:
    """What the server does; the default echoes every request."""

    settings: dict[SettingCodes, int] = field(default_factory=dict)
    on_request: Callable[[Server, Request], Awaitable[None] | None] | None = None
    on_headers: Callable[[Server, Request], None] | None = None
    update_windows: bool = True
    answer_pings: bool = True
    greet: bool = True


class Server(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, script: Script, accepted: list[Server]) -> None:
        self.script = script
        self.requests: dict[int, Request] = {}
        self.resets: list[tuple[int, int]] = []
        self.pings = 0
        self.goaways: list[int] = []
        self.most_open = 0
        self.open: set[int] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport
        accepted.append(self)
        self.h2 = h2.connection.H2Connection(
            config=h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=script.settings)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.script.greet:
            self.h2.initiate_connection()
            self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def raw(self, data: bytes) -> None:
        self.flush()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if not self.script.greet:
            return
        for event in self.h2.receive_data(data):
            self.handle(event)
        if self.script.answer_pings:
            self.flush()

    def handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            request = self.requests[event.stream_id] = Request(event.stream_id, headers)
            self.open.add(event.stream_id)
            self.most_open = max(self.most_open, len(self.open))
            if self.script.on_headers is not None:
                self.script.on_headers(self, request)
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id].body += event.data
            if self.script.update_windows and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answer(self.requests[event.stream_id])
        elif isinstance(event, h2.events.StreamReset):
            self.open.discard(event.stream_id)
            self.resets.append((event.stream_id, int(event.error_code or 0)))
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append(int(event.error_code or 0))

    def answer(self, request: Request) -> None:
        if self.script.on_request is None:
            self.respond(request.stream, request.payload)
            return
        result = self.script.on_request(self, request)
        if result is not None:
            task = asyncio.ensure_future(result)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def head(self, stream: int) -> None:
        self.h2.send_headers(stream, OK_HEAD)

    def trailers(self, stream: int, code: int = 0, text: str = "") -> None:
        self.h2.send_headers(stream, [("grpc-status", str(code)), ("grpc-message", text)], end_stream=True)
        self.open.discard(stream)
        self.flush()

    def respond(self, stream: int, payload: bytes, code: int = 0, text: str = "") -> None:
        self.head(stream)
        data = message(payload)
        for at in range(0, len(data), 16_384):
            self.h2.send_data(stream, data[at : at + 16_384])
        self.trailers(stream, code, text)

    def fail(self, stream: int, code: int, text: str) -> None:
        """Trailers only."""
        headers = [*OK_HEAD, ("grpc-status", str(code)), ("grpc-message", text)]
        self.h2.send_headers(stream, headers, end_stream=True)
        self.open.discard(stream)
        self.flush()

    async def send_large(self, stream: int, payload: bytes) -> None:
        """As flow control allows."""
        self.head(stream)
        data = message(payload)
        while data:
            size = min(len(data), self.h2.local_flow_control_window(stream), 16_384)
            if size == 0:
                await asyncio.sleep(0.001)
                continue
            self.h2.send_data(stream, data[:size])
            data = data[size:]
            self.flush()
        self.trailers(stream)


@dataclass
class Running:
    """A server with its connections, newest last, and a channel to it."""

    endpoint: Endpoint
    channel: H2Channel
    accepted: list[Server]


@asynccontextmanager
async def running(
    script: Script | None = None, server_tls: ssl.SSLContext | None = None, **options: object
) -> AsyncIterator[Running]:
    """A server on loopback and a channel to it; ``options`` are the channel's."""
    script = script or Script()
    accepted: list[Server] = []
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Server(script, accepted), "127.0.0.1", 0, ssl=server_tls)
    endpoint = Endpoint("m1", "127.0.0.1", listener.sockets[0].getsockname()[1])
    channel = H2Channel(endpoint, **options)  # type: ignore[arg-type]
    try:
        yield Running(endpoint, channel, accepted)
    finally:
        await channel.close()
        listener.close()
        for server in accepted:
            for task in server.tasks:
                task.cancel()
            if hasattr(server, "transport"):  # not so if TLS failed
                server.transport.abort()
        await asyncio.sleep(0)
