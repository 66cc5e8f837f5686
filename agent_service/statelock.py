"""One owner of a state directory at a time: the agent, or a heal from outside while the agent is dead."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

_POLL_SECONDS: Final = 0.05


class StateLock:
    """An advisory lock on ``DIRECTORY/lock``; the kernel drops it when its owner dies, however it dies."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor: int | None = None

    async def acquire(self, wait_seconds: float) -> None:
        """Become the owner.

        Raises:
            UnavailableError: another process still is the owner when the time is over.
        """
        if self._descriptor is not None:
            return
        descriptor = _open(self._path)
        try:
            await _lock(descriptor, self._path.parent, wait_seconds)
        except BaseException:
            os.close(descriptor)
            raise
        with suppress(OSError):  # the pid only serves the message below; a full disk must not prevent a heal
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let somebody else be the owner. Safe to repeat."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    # After an error of its disk a file system goes read-only; what the journal there says can still be undone.
    return os.open(path, os.O_RDONLY | flags)


async def _lock(descriptor: int, directory: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise UnavailableError(
                f"{directory} is in use by process {owner}",
                remedy="ask the running agent, or stop it: systemctl stop etcd-chaos-agent",
            )
        await asyncio.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
