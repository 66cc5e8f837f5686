"""The audit log: one JSON line per mutating request and per thing the agent did by itself."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent_service.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BLOCK_BYTES = 64 * 1024
_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

_log = logging.getLogger(__name__)


class AuditLog:
    """Append-only JSONL, fsynced line by line; safe to call from threads.

    The file is opened for each line, so that it may be rotated by renaming it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def append(self, who: str, what: str, detail: Mapping[str, str], outcome: str) -> None:
        """Write one line and wait until it is on disk.

        Never raises for a disk that is full or broken: a heal must not fail because nobody could note it
        down. The line then goes to the agent's own log.
        """
        entry = AuditEntry(
            realtime_ns=time.time_ns(), who=who, what=what, detail=dict(detail), outcome=outcome
        )
        line = entry.model_dump_json()
        try:
            with self._lock:
                self._write(line.encode() + b"\n")
        except OSError as error:
            _log.error("audit log %s: %s; the line was: %s", self._path, error.strerror, line)

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self._path, _OPEN_FLAGS, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a line torn by a crash or a full disk must not swallow this one
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, limit: int) -> tuple[AuditEntry, ...]:
        """The newest ``limit`` entries, oldest first; a torn line is left out."""
        entries = []
        for line in self._last_lines(limit):
            try:
                entries.append(AuditEntry.model_validate_json(line))
            except ValidationError:
                _log.warning("audit log %s: a line is torn: %r", self._path, line[:80])
        return tuple(entries)

    def _last_lines(self, limit: int) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                position = file.seek(0, os.SEEK_END)
                tail = b""
                while position and tail.count(b"\n") <= limit:
                    step = min(_BLOCK_BYTES, position)
                    position -= step
                    file.seek(position)
                    tail = file.read(step) + tail
        except FileNotFoundError:
            return []
        return tail.splitlines()[-limit:]
