"""The agent's end of a packet queue's process: start it, know whether it lives, end it.

The process lives while it holds a lock on its file and the file has a name. Nobody has to remember a pid: the
kernel tells who holds the lock, also to an agent that was started later, and never names somebody else.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent_service import commands
from agent_service.errors import UnavailableError

_ROOT: Final = Path(__file__).resolve().parents[2]
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from agent_service.quality.process import main; sys.exit(main(sys.argv[2]))"
)
_LOCK: Final = struct.Struct("@hhlli4x")  # struct flock: type, whence, start, length, pid

_GRACE_SECONDS: Final = 1.0
"""For what waits in the queue to be let go; a process that does not answer is killed then."""
_END_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.002


async def start(path: Path, order: str) -> None:
    """Start a process with this order in the background; nothing if it lives already.

    Raises:
        UnavailableError: it cannot do its work here.
    """
    if await asyncio.to_thread(holder, path) is not None:
        return
    await asyncio.to_thread(_write, path, order)
    started = await commands.run(command(path))
    if started.code != 0:
        raise UnavailableError(f"the packet queue does not start: {started.complaint}")


def command(path: Path) -> tuple[str, ...]:
    """The process's command line. The path of the package comes first: an agent may be installed anywhere."""
    return (sys.executable, "-E", "-S", "-c", _START, str(_ROOT), str(path))


async def end(path: Path) -> None:
    """Cut the line and see the process end.

    Raises:
        UnavailableError: it does not.
    """
    line = await asyncio.to_thread(_cut, path)
    if line is None:
        return
    try:
        await _see_ended(line)
        await asyncio.to_thread(cut_off(path).unlink, missing_ok=True)
        await _see_ended(line)  # one that had opened it before, and only now found out
    finally:
        os.close(line)
    with suppress(OSError):  # another queue's line may lie there
        await asyncio.to_thread(path.parent.rmdir)


def cut_off(path: Path) -> Path:
    """What a line is called while its process is being ended: nobody starts by it any more."""
    return path.with_suffix(".ending")


def holder(path: Path) -> int | None:
    """The process that lives by this file; ``None``: nobody does."""
    try:
        line = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return _holder(line)
    finally:
        os.close(line)


def _write(path: Path, order: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(line, "w", encoding="utf-8") as file:
            file.write(order)
    except OSError as error:
        raise UnavailableError(f"cannot write {path}: {error.strerror}") from error


def _cut(path: Path) -> int | None:
    try:
        with suppress(FileNotFoundError):
            path.rename(cut_off(path))
        return os.open(cut_off(path), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(f"cannot take {path} away: {error.strerror}") from error


def _holder(line: int) -> int | None:
    wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _LOCK.unpack(fcntl.fcntl(line, fcntl.F_GETLK, wanted))
    return None if kind == fcntl.F_UNLCK else pid


async def _see_ended(line: int) -> None:
    asked = await _ended(line, signal.SIGTERM, _GRACE_SECONDS)
    if not asked and not await _ended(line, signal.SIGKILL, _END_SECONDS):
        raise UnavailableError(f"process {_holder(line)} of the packet queue does not end")


async def _ended(line: int, number: signal.Signals, seconds: float) -> bool:
    """Signal whoever holds the line, once; whether nobody holds it before the time is over."""
    pid = _holder(line)
    if pid is not None:
        with suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                if _holder(line) == pid:  # asked again now that nobody else can slip under this pid
                    signal.pidfd_send_signal(process, number)
            finally:
                os.close(process)
    deadline = time.monotonic() + seconds
    while _holder(line) is not None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True
