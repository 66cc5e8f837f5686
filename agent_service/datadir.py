"""Directories that the agent made, and may therefore move and remove.

The proof is a marker file that the agent wrote when it made the directory. Nothing is removed or moved that
lacks the marker, is a symbolic link, lies outside the roots the operator named, or has a file system mounted
on or in it. Below a root everything is reached by descriptors (``beneath``): what is looked at is what is touched.
etcd warns once at start about a file it does not know in its data directory: that is the marker.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service import beneath
from agent_service.durable import temporary_of, write_at
from agent_service.errors import RefusedError, UnavailableError
from agent_service.ownership import (
    MARKER,
    Marker,
    Place,
    check_place,
    exists,
    marker_in,
    place_of,
    read_marker,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
ETCD_DATA: Final = "member"
"""What etcd makes first in its data directory."""
PROVISIONAL: Final = "restored data that are not kept yet"
"""Purpose of a directory whose content gives way to what was set aside."""


def ensure_directory(path: Path) -> None:
    """Make a directory of the agent's own, if it is not there; raises ``UnavailableError``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot make {path}: {error.strerror}") from error


def check_usable(path: Path, roots: Sequence[Path]) -> None:
    """Whether the agent may use ``path``: under a root, and absent, empty or marked.

    Raises:
        RefusedError: somebody else's, or somewhere else.
    """
    check_place(path, roots)
    if os.path.lexists(path):
        with place_of(path, roots) as place, place.opened("name another data_dir, or move it away") as found:
            _check_usable(path, found)


def _check_usable(path: Path, directory: int) -> None:
    if marker_in(directory) is None and not _is_bare(directory):
        raise RefusedError(
            f"{path} holds files and was not made by this agent (there is no valid {MARKER} in it)",
            remedy="name another data_dir, or move what lies there away yourself",
        )


def create_owned(
    path: Path, roots: Sequence[Path], *, host: str, purpose: str, user: str | None = None
) -> None:
    """Make ``path``, mark it, and give it to ``user``; a directory already marked stays as it is.

    Raises:
        RefusedError: ``check_usable`` refuses it.
        UnavailableError: it cannot be made, or there is no such user.
    """
    check_usable(path, roots)
    owner = _user(user)
    try:
        with place_of(path, roots, make=True) as place:
            with suppress(FileExistsError):
                os.mkdir(path.name, 0o700, dir_fd=place.above)
            with place.opened("name another data_dir, or move it away") as directory:
                _check_usable(path, directory)
                marker = marker_in(directory)
                # Where a restoration came to nothing, whatever comes next is no restored data.
                if marker is None or (_is_provisional(marker) and not exists(ETCD_DATA, directory)):
                    _mark(directory, path, host, purpose)
                    os.fsync(place.above)
                if owner is not None:
                    os.fchown(directory, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise UnavailableError(f"cannot make {path}: {error.strerror}") from error


def _is_bare(directory: int) -> bool:
    """Whether there is nothing in it, but perhaps a marker that an agent died over writing."""
    return set(beneath.names(directory)) <= {temporary_of(MARKER)}


def _mark(directory: int, path: Path, host: str, purpose: str) -> None:
    marker = Marker(host=host, purpose=purpose, created_realtime_ns=time.time_ns())
    write_at(directory, path, MARKER, marker.model_dump_json().encode())


def mark_again(path: Path, roots: Sequence[Path], *, host: str, purpose: str) -> None:
    """Give a directory of the agent's another purpose. Raises as ``check_owned`` does."""
    with _owned(path, roots) as (_, directory):
        _mark(directory, path, host, purpose)


def is_provisional(path: Path) -> bool:
    """Whether what lies there gives way to what was set aside."""
    return _is_provisional(read_marker(path))


def _is_provisional(marker: Marker | None) -> bool:
    return marker is not None and marker.purpose == PROVISIONAL


def move_between(source: Path, within: str, path: Path, roots: Sequence[Path]) -> None:
    """Move etcd's data from ``source/within`` into ``path``, both of them directories of the agent's on one disk.

    Raises:
        RefusedError: ``check_owned`` refuses one of them.
        UnavailableError: the disk does not take it.
    """
    with _owned(source, roots) as (_, outer), _owned(path, roots) as (_, target):
        try:
            inner = os.open(within, beneath.DIRECTORY, dir_fd=outer)
            try:
                os.rename(ETCD_DATA, ETCD_DATA, src_dir_fd=inner, dst_dir_fd=target)
            finally:
                os.close(inner)
            os.fsync(target)
        except OSError as error:
            raise UnavailableError(f"cannot move {source / within} into {path}: {error.strerror}") from error


def check_owned(path: Path, roots: Sequence[Path]) -> None:
    """Whether the agent may move or remove ``path``.

    Raises:
        RefusedError: no valid marker, a symbolic link, outside the roots, or mounted on.
    """
    with _owned(path, roots):
        pass


@contextmanager
def _owned(path: Path, roots: Sequence[Path]) -> Iterator[tuple[Place, int]]:
    """A directory of the agent's own, opened, and where it is."""
    with place_of(path, roots) as place, place.opened() as directory:
        if marker_in(directory) is None:
            raise RefusedError(
                f"{path} was not made by this agent (there is no valid {MARKER} in it)",
                remedy="remove it yourself if that is what you want",
            )
        mounts = mounts_within(path, _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape"))
        if mounts:
            raise RefusedError(
                f"a file system is mounted on {', '.join(map(str, mounts))}",
                remedy=f"unmount it: umount {mounts[0]}",
            )
        yield place, directory


def remove_owned(path: Path, roots: Sequence[Path]) -> bool:
    """Remove a directory of the agent's with all in it; ``False`` when there was none.

    Raises:
        RefusedError: ``check_owned`` refuses it.
        UnavailableError: some of it could not be removed.
    """
    check_place(path, roots)
    if not os.path.lexists(path):
        return False
    if _remove_bare(path, roots):
        return True
    with _owned(path, roots) as (place, directory):
        try:
            _remove(place, directory)
        except OSError as error:
            raise UnavailableError(f"cannot remove {error.filename or path}: {error.strerror}") from error
    return True


def _remove_bare(path: Path, roots: Sequence[Path]) -> bool:
    """Remove a directory of our own user that an agent died over making or removing: no marker, and nothing else."""
    with place_of(path, roots) as place, place.opened() as directory:
        if os.fstat(directory).st_uid != os.geteuid() or not _is_bare(directory):
            return False
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary_of(MARKER), dir_fd=directory)
            os.rmdir(path.name, dir_fd=place.above)
        except OSError as error:
            raise UnavailableError(f"cannot remove {path}: {error.strerror}") from error
    return True


def _remove(place: Place, directory: int) -> None:
    # The marker goes last: a removal that is interrupted can be repeated.
    for name in beneath.names(directory):
        if name == MARKER:
            continue
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
    os.unlink(MARKER, dir_fd=directory)
    os.rmdir(place.path.name, dir_fd=place.above)


def move_owned(path: Path, roots: Sequence[Path], destination: Path) -> None:
    """Move a directory of the agent's to ``destination``, to another file system too.

    Raises:
        RefusedError: ``check_owned`` refuses it.
        UnavailableError: it could not be moved: it is still complete where it was, unless the copy is complete.
    """
    with _owned(path, roots) as (place, directory):
        try:
            try:
                os.rename(path.name, destination, src_dir_fd=place.above)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy(directory, destination)
                _remove(place, directory)
        except OSError as error:
            raise UnavailableError(f"cannot move {path} to {destination}: {error.strerror}") from error


def _copy(directory: int, destination: Path) -> None:
    """All of it, on disk, or none: the original goes next."""
    destination.mkdir(mode=0o700)
    try:
        with beneath.directory(destination) as target:
            beneath.copy_tree(directory, target)
        with beneath.directory(destination.parent) as above:
            os.fsync(above)
    except OSError:
        shutil.rmtree(destination)
        raise


def rename_owned(path: Path, aside: Path, roots: Sequence[Path]) -> None:
    """Give a directory of the agent's another name beside it; nothing if that was done.

    Raises:
        RefusedError: ``check_owned`` refuses it.
        UnavailableError: the disk does not take it.
    """
    if not os.path.lexists(path) and read_marker(aside) is not None:
        return
    with _owned(path, roots) as (place, _), place_of(aside, roots) as there:
        try:
            os.rename(path.name, aside.name, src_dir_fd=place.above, dst_dir_fd=there.above)
            os.fsync(place.above)
        except OSError as error:
            raise UnavailableError(f"cannot rename {path} to {aside}: {error.strerror}") from error


def restore_owned(path: Path, aside: Path, roots: Sequence[Path]) -> None:
    """Undo ``rename_owned``; where there are new data under that name, remove the old. Raises as it does.

    A directory that a start has made and etcd has not filled is no data: it gives way, and so do restored data
    that were not kept.
    """
    if not os.path.lexists(aside):
        return
    with place_of(path, roots) as place:
        if place.is_there():
            with place.opened() as directory:
                filled = exists(ETCD_DATA, directory) and not _is_provisional(marker_in(directory))
            if filled:
                remove_owned(aside, roots)
                return
            remove_owned(path, roots)
    rename_owned(aside, path, roots)


def tree_bytes(path: Path) -> int | None:
    """Bytes that the files under ``path`` take up on disk; ``None``: there is no such directory, or nobody can say."""
    try:
        descriptor = os.open(path, beneath.DIRECTORY)
    except OSError:
        return None
    try:
        return beneath.tree_bytes(descriptor)
    except RecursionError:
        return None
    finally:
        os.close(descriptor)


def mounts_within(path: Path, mountinfo: str) -> tuple[Path, ...]:
    """Mount points on or under ``path``, out of the text of ``/proc/self/mountinfo``."""
    resolved = path.resolve()
    points = (_unescape(line.split(" ")[4]) for line in mountinfo.splitlines() if line)
    return tuple(point for point in points if point.is_relative_to(resolved))


def _unescape(text: str) -> Path:
    r"""Mountinfo writes blanks in paths as octal, ``\040``."""
    return Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), text))


def _user(name: str | None) -> pwd.struct_passwd | None:
    if name is None:
        return None
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise UnavailableError(
            f"there is no user {name} to run etcd as",
            remedy="run playbooks/deploy.yml, or correct member_user",
        ) from error
