"""The least an answer over mutual TLS can cost: ``python -m benchmarks.tls_echo DIRECTORY ADDRESS PORT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

from agent_service.tls import ServerTls
from tests.agent.settings import agent_settings


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self._transport.write(data)


async def _serve(directory: Path, address: str, port: int) -> None:
    tls = ServerTls(agent_settings(directory).tls)
    server = await asyncio.get_running_loop().create_server(Echo, address, port, ssl=tls.context)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    directory, address, port = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Path(directory), address, int(port)))


if __name__ == "__main__":
    main()
