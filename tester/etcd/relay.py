"""A way for gRPC to a member whose certificate it would not take.

etcd's auto-TLS signs with P-521, which gRPC's library does not know, and no CA vouches for it. Streams go through a
Unix socket in a directory that only this user can enter, and from there over Python's TLS. Bytes are copied as they
come: a member that is silent is silent here, too, and keepalives go through.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from tester.etcd.endpoint import Endpoint

_CHUNK_BYTES = 256 * 1024
_CONNECT_SECONDS = 1.0


class TlsRelay:
    """Listens while it is entered; ``target`` is what gRPC connects to."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext) -> None:
        self._endpoint = endpoint
        self._context = context
        self._context.set_alpn_protocols(["h2"])
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def target(self) -> str:
        """In gRPC's words."""
        return f"unix:{self._path}"

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="etcd-chaos-")
        self._path = Path(self._directory.name) / "relay"
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._directory.cleanup()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer), name=f"relay to {self._endpoint.member}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side ends; a member that cannot be reached is a connection that ends at once."""
        there: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                answers, there = await asyncio.open_connection(
                    self._endpoint.address,
                    self._endpoint.port,
                    ssl=self._context,
                    server_hostname=self._endpoint.address,
                )
            ways = {
                asyncio.create_task(_copy(reader, there)),
                asyncio.create_task(_copy(answers, writer)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, TimeoutError):
            pass  # gRPC sees its connection end, and says so
        finally:
            for each in (writer, there):
                if each is not None:
                    each.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK_BYTES):
            target.write(data)
            await target.drain()
