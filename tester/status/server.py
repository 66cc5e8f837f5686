"""Serves the status of a run beside it, without encryption: on this machine, unless somebody says otherwise."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from fastapi import FastAPI, Response

from tester.errors import InfrastructureError
from tester.status.address import StatusAddress
from tester.status.board import Board
from tester.status.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tester.events import EventBus

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def serving(address: StatusAddress, bus: EventBus) -> AsyncIterator[StatusAddress]:
    """While the body of the ``with`` runs, what the bus says is served; the address that was taken.

    Raises:
        InfrastructureError: the address cannot be listened on.
    """
    board, metrics = Board(), Metrics()
    with bus.listening(board), bus.listening(metrics), _listen(address) as listener:
        server = _Server(_app(board, metrics))
        work = asyncio.create_task(server.serve([listener]))
        try:
            yield StatusAddress(*listener.getsockname()[:2])
        finally:
            server.should_exit = True
            await work


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The run handles its signals itself."""
        yield


def _server_config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
    )


def _app(board: Board, metrics: Metrics) -> uvicorn.Config:
    app = FastAPI(title="etcd-chaos run", docs_url=None, redoc_url=None)

    @app.get("/status")
    async def status() -> Response:
        """Where the run is."""
        return Response(msgspec.json.encode(board.status()), media_type="application/json")

    @app.get("/metrics")
    async def scrape() -> Response:
        """Counters of this session, for Prometheus."""
        return Response(metrics.expose(), media_type=_METRICS_TYPE)

    return _server_config(app)


@contextmanager
def _listen(address: StatusAddress) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        raise InfrastructureError(
            f"--status {address}: {os.strerror(error.errno or 0)}",
            remedy="name another port, or 0 for a free one",
        ) from error
    with listener:
        yield listener
