"""Processes that are never mistaken for others: identity, signals and the notice of an end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PROC: Final = Path("/proc")
_STATE_FIELD: Final = 0
_START_FIELD: Final = 19
"""Index of field 22 of ``/proc/PID/stat`` among those after the command name."""


_LAST_THREAD_SECONDS: Final = 5.0
_KERNEL_PID_NAMESPACE: Final = 0xEFFFFFFC
"""Inode of the first PID namespace (``PROC_PID_INIT_INO``): whoever is in another one is in a container."""


@cache
def boot_id() -> str:
    """Names this boot of the host: of the kernel or, where the host is a container, of the container.

    A container's boots are not the kernel's. Its manager may mount a ``boot_id`` of its own over the kernel's,
    but a unit with mounts of its own, as the agent's, does not see that, while a command over ssh does.
    """
    namespace = (_PROC / "self/ns/pid").stat().st_ino
    if namespace == _KERNEL_PID_NAMESPACE:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    first = parse_stat((_PROC / "1/stat").read_text(encoding="utf-8", errors="replace"))
    return f"container-{namespace}-{first.start_ticks}"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process and no other: a pid is used again, its start time in one boot is not.

    ``start_ticks`` is the start time in clock ticks since boot, 0 when the process was gone before anybody
    could read it.
    """

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What ``/proc/PID/stat`` says: ``state`` is one letter as ``ps`` shows it."""

    state: str
    start_ticks: int


def parse_stat(text: str) -> ProcessStat:
    """Read one line of ``/proc/PID/stat``; the command name in it may hold spaces and parentheses."""
    fields = text[text.rindex(")") + 1 :].split()
    return ProcessStat(state=fields[_STATE_FIELD], start_ticks=int(fields[_START_FIELD]))


def _read_stat(path: Path) -> ProcessStat | None:
    try:
        return parse_stat(path.read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def identify(pid: int) -> ProcessId | None:
    """The process that has this pid now, ended but not yet reaped ones included; ``None``: nobody has it."""
    stat = _read_stat(_PROC / str(pid) / "stat")
    return None if stat is None else ProcessId(pid, stat.start_ticks, boot_id())


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs (or is stopped); a zombie does not."""
    if process.boot_id != boot_id():
        return False
    stat = _read_stat(_PROC / str(process.pid) / "stat")
    return stat is not None and stat.start_ticks == process.start_ticks and stat.state not in "ZX"


def is_stopped(process: ProcessId) -> bool:
    """Whether every thread of this living process is stopped by a signal (state T)."""
    if not is_alive(process):
        return False
    tasks = (_PROC / str(process.pid) / "task").glob("*/stat")
    stats = [stat for path in tasks if (stat := _read_stat(path)) is not None]
    return bool(stats) and all(stat.state == "T" for stat in stats)


class ProcessWatch:
    """Holds on to one process by a pidfd: notices its end at once, and signals it and nobody else.

    A process that ended already is no error: then ``ended`` is true from the start, and ``on_end`` is called
    in the next turn of the event loop. Must be created while a loop runs.
    """

    def __init__(self, process: ProcessId, on_end: Callable[[ProcessWatch], None]) -> None:
        self.process = process
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._open()
        if self._descriptor is None:
            self._loop.call_soon(self._notice)
        else:
            self._loop.add_reader(self._descriptor, self._notice)

    def _open(self) -> int | None:
        try:
            descriptor = os.pidfd_open(self.process.pid)
        except ProcessLookupError:
            self._ended.set()
            return None
        # Asked after the pidfd is open: from here on nobody else can slip under this pid.
        if is_alive(self.process):
            return descriptor
        os.close(descriptor)
        self._ended.set()
        return None

    def _notice(self) -> None:
        self.close()
        self._ended.set()
        self._on_end(self)

    @property
    def ended(self) -> bool:
        """Whether the process is known to have ended."""
        return self._ended.is_set()

    def send(self, number: signal.Signals) -> None:
        """Signal the process; nothing happens when it has ended."""
        if self._descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    async def has_ended(self) -> bool:
        """Whether it has; one that is about to is waited for.

        The first thread may be gone while others still wait for a disk that is slow: they hold what the next start
        needs, and how the process ended is known when the last is gone.
        """
        return self.ended or (not is_alive(self.process) and await self.wait(_LAST_THREAD_SECONDS))

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; ``False`` when the time is over first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._ended.wait()
        return self.ended

    def close(self) -> None:
        """Let go: the process is not watched any more. Safe to repeat."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
