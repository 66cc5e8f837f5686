"""The ``process`` supervisor: a small shim stays as parent of the member, for hosts without systemd.

Where the agent itself is a systemd unit, that unit needs ``KillMode=process``, or systemd
ends the member with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service.errors import IllegalStateError, UnavailableError
from agent_service.processes import ProcessId, boot_id, is_alive
from agent_service.spawn import spawn
from agent_service.supervisor.base import ExitStatus, Launch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

SHIM: Final = Path(__file__).with_name("shim.py")
_START_TIMEOUT_SECONDS: Final = 10.0
_EXIT_TIMEOUT_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.002


class Started(msgspec.Struct, frozen=True):
    """``started.json`` of the shim."""

    pid: int
    start_ticks: int
    boot_id: str

    def process(self) -> ProcessId:
        """The process it speaks of."""
        return ProcessId(self.pid, self.start_ticks, self.boot_id)


class Ended(Started, frozen=True):
    """``ended.json`` of the shim; ``error`` when the command could not be executed at all."""

    code: int | None = None
    signal: int | None = None
    monotonic_ns: int | None = None
    error: str | None = None


def shim_argv(directory: Path, launch: Launch) -> tuple[str, ...]:
    """Command line of the shim."""
    own = (str(SHIM), str(directory), launch.user or "", boot_id())
    return (sys.executable, "-I", "-S", *own, *launch.argv)


class ProcessSupervisor:
    """Implements ``Supervisor``; keeps its two files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def launch(self, launch: Launch) -> ProcessId:
        """Start the shim, and return what it started."""
        running = await self.find()
        if running is not None:
            raise IllegalStateError(f"the last member still runs (pid {running.pid})", state="running")
        await self.release()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._run_shim(launch.on_its_clock())
        started = await _until(lambda: self._started() or self._ended(), _START_TIMEOUT_SECONDS)
        if started is None:
            raise UnavailableError("the member's shim did not report a start", remedy=f"see {launch.log}")
        if isinstance(started, Ended) and started.error is not None:
            raise UnavailableError(f"etcd cannot be executed: {started.error}")
        return started.process()

    async def _run_shim(self, launch: Launch) -> None:
        log = os.open(
            launch.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
        )
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            argv = shim_argv(self._directory, launch)
            shim = spawn(sys.executable, argv, dict(launch.env), (nothing, log, log))
        finally:
            os.close(nothing)
            os.close(log)
        await shim.wait()  # it forks away at once

    async def find(self) -> ProcessId | None:
        """The process of ``started.json``, if it is alive."""
        started = self._started()
        return started.process() if started is not None and is_alive(started.process()) else None

    async def exit_status(self, process: ProcessId) -> ExitStatus | None:
        """Out of ``ended.json``; a shim that was killed leaves none."""

        def matching() -> Ended | None:
            ended = self._ended()
            return ended if ended is not None and ended.process() == process else None

        # After a reboot there is no shim that could still write.
        timeout = _EXIT_TIMEOUT_SECONDS if process.boot_id == boot_id() else 0.0
        ended = await _until(matching, timeout)
        return None if ended is None else ExitStatus(ended.code, ended.signal, ended.monotonic_ns)

    async def release(self) -> None:
        """Remove both files."""
        for name in ("started.json", "ended.json"):
            (self._directory / name).unlink(missing_ok=True)

    def _started(self) -> Started | None:
        return _read(self._directory / "started.json", Started)

    def _ended(self) -> Ended | None:
        return _read(self._directory / "ended.json", Ended)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


async def _until(probe: Callable[[], T | None], timeout_seconds: float) -> T | None:
    """Ask until there is an answer or the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while (answer := probe()) is None and time.monotonic() < deadline:  # noqa: ASYNC110 - another process writes
        await asyncio.sleep(_POLL_SECONDS)
    return answer
