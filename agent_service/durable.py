"""Files that survive a crash of the agent and of the host: whole, or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def write_durably(
    path: Path, content: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> None:
    """Replace ``path`` by ``content``: when this returns, file and name are on disk.

    A reader, at any moment and after any crash, sees the old content or the new one. ``owner`` is user and group, if
    not the agent's own.

    Raises:
        UnavailableError: the disk is full or broken, or the directory cannot be written.
    """
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        write_at(directory, path.parent, path.name, content, mode=mode, owner=owner)
    finally:
        os.close(directory)


def temporary_of(name: str) -> str:
    """What a file is called until it is whole; one is left where somebody died over writing it."""
    return f".{name}.new"


def write_at(
    directory: int,
    path: Path,
    name: str,
    content: bytes,
    *,
    mode: int = 0o600,
    owner: tuple[int, int] | None = None,
) -> None:
    """The same in a directory that is open; ``path`` is what to call it in an error."""
    temporary = temporary_of(name)
    try:
        # What somebody else has put there, a pipe perhaps, is neither opened nor waited for.
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, mode, dir_fd=directory), "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except OSError as error:
        raise _cannot(path / name, error) from error


def _cannot(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"cannot write {path}: {error.strerror}",
        remedy="make room for the agent's state, or repair its disk",
    )


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
