"""The load workers of this host: a few, each under a lease on the host's own monotonic clock."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING, Final

from agent_service import datadir
from agent_service.errors import IllegalStateError, NotFoundError
from agent_service.load.launch import check
from agent_service.load.worker import LoadWorker
from agent_service.ownership import read_marker

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.models import LoadRequest, LoadWorkerStatus
    from agent_service.settings import AgentSettings

MAX_WORKERS: Final = 64
"""Running, or ended with what they wrote still here."""
_LOOK_SECONDS: Final = 0.5
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_log = logging.getLogger(__name__)


class LoadWorkers:
    """All of them, by name. What an agent that died has left is there too, ended."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._root = settings.state_dir / "load"
        self._workers: dict[str, LoadWorker] = {}
        self._lock = asyncio.Lock()

    def adopt(self) -> None:
        """At agent start: know what earlier ones have written. Their workers died with their agent."""
        if not self._root.is_dir():
            return
        for directory in sorted(self._root.iterdir()):
            if _NAME.fullmatch(directory.name) and read_marker(directory) is not None:
                self._workers[directory.name] = LoadWorker(directory.name, directory)

    def list(self) -> tuple[LoadWorkerStatus, ...]:
        """Every worker that this host knows of."""
        return tuple(worker.status() for worker in self._workers.values())

    def get(self, name: str) -> LoadWorker:
        """The worker of this name.

        Raises:
            NotFoundError: there is none.
        """
        worker = self._workers.get(name)
        if worker is None:
            raise NotFoundError(
                f"there is no load worker {name}", remedy="an agent that was started anew forgets its workers"
            )
        return worker

    async def start(self, name: str, request: LoadRequest) -> LoadWorkerStatus:
        """Start one.

        Raises:
            IllegalStateError: the name is taken, or there are too many.
            UnavailableError: this host can start none.
        """
        async with self._lock:
            if name in self._workers:
                raise IllegalStateError(
                    f"there is a load worker {name} already",
                    state="known",
                    remedy="remove it, or take another id",
                )
            if len(self._workers) >= MAX_WORKERS:
                raise IllegalStateError(
                    f"this host has {MAX_WORKERS} load workers", state="full", remedy="remove some"
                )
            setpriv, user = check(self._settings)
            directory = self._directory(name)
            await asyncio.to_thread(
                datadir.create_owned,
                directory,
                (self._settings.state_dir,),
                host=self._settings.host,
                purpose=f"history of load worker {name}",
            )
            worker = LoadWorker(name, directory)
            self._workers[name] = worker
            await worker.start(request.order, request.lease_seconds, setpriv, user)
            return worker.status()

    async def remove(self, name: str) -> LoadWorkerStatus:
        """End it and remove what it wrote; how it was.

        Raises:
            NotFoundError: there is none.
            RefusedError: its directory is not the agent's.
            UnavailableError: something could not be removed.
        """
        worker = self.get(name)
        await worker.end("it was removed")
        status = worker.status()
        async with self._lock:
            await asyncio.to_thread(datadir.remove_owned, self._directory(name), (self._settings.state_dir,))
            self._workers.pop(name, None)
        return status

    async def run_leases(self) -> None:
        """End whom nobody asks for, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            late = [worker for worker in self._workers.values() if worker.running and worker.deadline < now]
            for worker in late:
                _log.warning(
                    "load worker %s: nobody has asked for it for %g s", worker.name, worker.lease_seconds
                )
            await asyncio.gather(*(worker.end("its lease ran out: nobody asked for it") for worker in late))

    async def close(self) -> None:
        """End all; what they wrote stays."""
        await asyncio.gather(*(worker.end("its agent stops") for worker in self._workers.values()))

    def _directory(self, name: str) -> Path:
        return self._root / name
