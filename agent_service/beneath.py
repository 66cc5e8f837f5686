"""Reaches what lies below a directory of somebody else's, and follows no link there.

etcd's user may put anything below its data directory, at any moment, and the agent is root: a path that was looked at
may lead elsewhere when it is opened. So every directory on the way is opened from the one above, and whatever is done
is done by descriptor and one name.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Without blocking: a pipe in the place of a file must not hold anybody up."""
_PERMISSIONS: Final = 0o777
"""All that a copy keeps of a mode: a copy of root's must not be a program that makes others root."""


def open_directory(root: Path, *way: str, make: bool = False) -> int:
    """Open ``root/way...``; links are followed up to and including ``root`` alone. To be closed by the caller.

    With ``make``, directories that are missing are made.

    Raises:
        OSError: there is none, or a link is in its place (``ENOTDIR``); ``filename`` is the whole path.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    reached = root
    for name in way:
        reached /= name
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=descriptor)
            inner = _named(reached, name, descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


@contextmanager
def directory(root: Path, *way: str) -> Iterator[int]:
    """``open_directory`` for a while."""
    descriptor = open_directory(root, *way)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _named(path: Path, name: str, above: int) -> int:
    try:
        return os.open(name, DIRECTORY, dir_fd=above)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def root_of(path: Path, roots: Iterable[Path]) -> Path | None:
    """The one of ``roots`` that ``path`` lies strictly below, by its name."""
    for root in roots:
        if path != root and path.is_relative_to(root) and ".." not in path.parts:
            return root
    return None


def open_file(name: str, flags: int, *, above: int, owner: int | None = None) -> int:
    """Open a regular file, of user ``owner`` where one is named; the descriptor is the caller's to close.

    Raises:
        OSError: there is none. ``ELOOP``: a link; ``EINVAL``: no regular file; ``EPERM``: somebody else's.
    """
    descriptor = os.open(name, flags | _FILE, dir_fd=above)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and owner in {None, found.st_uid}:
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", name)
    raise OSError(errno.EPERM, f"it belongs to user {found.st_uid}, not {owner}", name)


def names(descriptor: int) -> list[str]:
    """What lies in a directory."""
    return os.listdir(descriptor)


def tree_bytes(descriptor: int) -> int:
    """Bytes that everything below a directory takes up on disk; what cannot be looked at is not counted.

    Raises:
        RecursionError: somebody has nested directories beyond all reason.
    """
    total = 0
    try:
        there = names(descriptor)
    except OSError:
        return total
    for name in there:
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                total += found.st_blocks * 512
                continue
            inner = os.open(name, DIRECTORY, dir_fd=descriptor)
        except OSError:
            continue  # etcd removes old snapshots while we look; and no disk that is broken may hold up a heal
        try:
            total += tree_bytes(inner)
        finally:
            os.close(inner)
    return total


def copy_tree(source: int, target: int) -> None:
    """Copy what lies in one directory into another, empty one: directories, files and links as links; all on disk then.

    Raises:
        OSError: some of it cannot be copied, or is something else (``EINVAL``).
    """
    for name in names(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            with _pair((source, target), name) as (inner, copied):
                copy_tree(inner, copied)
                _like(copied, os.fstat(inner))
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            _copy_file(name, source, target)
    os.fsync(target)


@contextmanager
def _pair(above: Sequence[int], name: str) -> Iterator[tuple[int, int]]:
    first = os.open(name, DIRECTORY, dir_fd=above[0])
    try:
        second = os.open(name, DIRECTORY, dir_fd=above[1])
        try:
            yield first, second
        finally:
            os.close(second)
    finally:
        os.close(first)


def _copy_file(name: str, source: int, target: int) -> None:
    with os.fdopen(open_file(name, os.O_RDONLY, above=source), "rb") as original:
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        with os.fdopen(made, "wb") as copy:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            _like(copy.fileno(), os.fstat(original.fileno()))
            os.fsync(copy.fileno())


def _like(copy: int, original: os.stat_result) -> None:
    os.fchmod(copy, original.st_mode & _PERMISSIONS)
    os.utime(copy, ns=(original.st_atime_ns, original.st_mtime_ns))
