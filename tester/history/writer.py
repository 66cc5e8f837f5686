"""The history on its way to disk.

Records are collected while a turn of the event loop runs and written with one ``write(2)`` in a callback of
the next turn. A client records its invocation before it hands the request to its channel, and a channel sends
no earlier than callbacks scheduled before (``tester.etcd.channel``), so an invocation is in the kernel before
its request leaves: SIGKILL of the tester can lose the end of an operation (which then counts as ``info``),
never the invocation of a write that a member may have applied. Only a crash of this machine can: ``fsync``
happens at the end.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from tester.errors import LoadError

if TYPE_CHECKING:
    from pathlib import Path

    from tester.history.records import HistoryRecord


class Recorder(Protocol):
    """Where records go."""

    def write(self, record: HistoryRecord) -> None:
        """Take ``record``; the order of calls is the order of the file."""
        ...


class HistoryWriter:
    """Writes a new history file. Not thread-safe: everything happens on one event loop.

    The first failure to write (a full disk) is kept: the file is cut back to its last whole line and every
    later call raises it. ``check`` raises it for those who only wait.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        """Create the file; or take over a ``descriptor`` of it, empty and open for writing.

        Raises:
            LoadError: it exists, or cannot be created.
        """
        self.path = path
        self._encoder = msgspec.json.Encoder()
        self._pending: list[HistoryRecord] = []
        self._scheduled = False
        self._size = 0
        self._error: LoadError | None = None
        self._closed = False
        if descriptor is not None:
            self._fd = descriptor
            return
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LoadError(f"cannot create the history {path}: {error.strerror}") from error

    def write(self, record: HistoryRecord) -> None:
        """Queue a record for the end of this turn of the loop; without a running loop, write it at once.

        After ``close`` records go nowhere: the number of the file may be another's by then.

        Raises:
            LoadError: an earlier record could not be written.
        """
        if self._closed or self._error is not None:
            self.check()
            return
        self._pending.append(record)
        if not self._scheduled:
            self._schedule()

    def check(self) -> None:
        """Raise the failure to write, if there was one.

        Raises:
            LoadError: a record could not be written.
        """
        if self._error is not None:
            raise self._error

    def flush(self) -> None:
        """Hand everything queued to the kernel now. Does not raise: the failure is kept for ``write``."""
        self._scheduled = False
        if not self._pending or self._error is not None:
            return
        data = self._encoder.encode_lines(self._pending)
        self._pending.clear()
        try:
            self._write_all(data)
        except OSError as error:
            self._fail(error)
        else:
            self._size += len(data)

    async def close(self) -> None:
        """Write what is queued, ``fsync`` beside the event loop, close. A second call does nothing.

        Raises:
            LoadError: something could not be written, now or before.
        """
        if self._closed:
            return
        self.flush()
        self._closed = True
        try:
            await asyncio.to_thread(os.fsync, self._fd)
        except OSError as error:
            self._fail(error)
        finally:
            os.close(self._fd)
        self.check()

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._scheduled = True
        loop.call_soon(self.flush)

    def _write_all(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        while written < len(data):
            written += os.write(self._fd, data[written:])

    def _fail(self, error: OSError) -> None:
        if self._error is not None:
            return
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = "free space on the file system of the run directory, or put the run elsewhere"
        self._error = cut_back(self.path, self._fd, self._size, error, remedy if full else None)


def cut_back(path: Path, file: Path | int, size: int, error: OSError, remedy: str | None) -> LoadError:
    """Cut a history that could not be written back to its last whole line. Returns what to raise, now and later.

    Args:
        path: for the message.
        file: the same, or a descriptor of it.
        size: bytes up to the end of that line.
        error: why it could not be written.
        remedy: of the failure.
    """
    failure = LoadError(f"the history {path} cannot be written: {error.strerror}", remedy=remedy)
    try:
        os.truncate(file, size)
    except OSError as cut:
        # Readers accept one torn last line; what matters is said by the first error.
        failure.add_note(f"and the torn last line could not be cut off: {cut.strerror}")
    return failure
