"""The audit log: one JSON line per mutating request and per thing the agent did by itself.

A file is only ever appended to. One that has grown too large is renamed (``audit.jsonl.1``, the newest, to ``.3``),
and a new one begun.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service.diskwriter import DiskWriter
from agent_service.durable import sync_directory
from agent_service.errors import UnavailableError
from agent_service.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AUDIT_FILE: Final = "audit.jsonl"
"""Within the state directory."""
MAX_BYTES: Final = 8 * 1024**2
"""A file that would grow beyond this is put aside."""
KEPT: Final = 3
"""Files put aside; the oldest goes when another one comes."""

_BLOCK_BYTES = 64 * 1024
_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

_log = logging.getLogger(__name__)


class AuditLog:
    """Append-only JSONL, fsynced line by line; ``append`` is safe to call from threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writer = DiskWriter()

    async def tell(self, who: str, what: str, detail: Mapping[str, str], outcome: str) -> None:
        """``append``, waited for no longer than a moment: a disk that hangs must not hold up an answer."""
        try:
            await self._writer.write(lambda: self.append(who, what, detail, outcome), str(self._path))
        except UnavailableError as error:
            _log.error("%s; the line is: %s %s %s: %s", error.detail, who, what, dict(detail), outcome)

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
        self._make_room(len(line))
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

    def _make_room(self, size: int) -> None:
        try:
            if self._path.stat().st_size + size <= MAX_BYTES:
                return
        except FileNotFoundError:
            return
        try:
            for path, older in zip(self._older()[-2::-1], self._older()[:0:-1], strict=True):
                if path.exists():
                    path.replace(older)
            self._path.replace(self._older()[0])
            sync_directory(self._path.parent)
        except OSError as error:
            _log.error("audit log %s cannot be put aside and grows on: %s", self._path, error.strerror)

    def _older(self) -> list[Path]:
        """Where files are put aside, the newest first."""
        return [self._path.with_name(f"{self._path.name}.{number}") for number in range(1, KEPT + 1)]

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
        lines: list[bytes] = []
        for path in (self._path, *self._older()):
            if len(lines) < limit:
                lines = _last_lines(path, limit - len(lines)) + lines
        return lines


def _last_lines(path: Path, limit: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
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
