"""Files that survive a crash of the agent and of the host: whole, or not there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``content``: when this returns, file and name are on disk.

    A reader, at any moment and after any crash, sees the old content or the new one.

    Raises:
        UnavailableError: the disk is full or broken, or the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        # What somebody else has put there, a pipe perhaps, is neither opened nor waited for.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path}: {error.strerror}",
            remedy="make room for the agent's state, or repair its disk",
        ) from error


def remove_durably(path: Path) -> None:
    """Remove a file for good; a missing one is fine."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring names created, renamed or removed in ``path`` to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
