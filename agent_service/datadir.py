"""Directories that the agent made, and may therefore move and remove.

The proof is a marker file that the agent wrote when it made the directory. Nothing is removed or moved that
lacks the marker, is a symbolic link, lies outside the roots the operator named, or has a file system mounted
on or in it.
etcd warns once at start about a file it does not know in its data directory: that is the marker.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service.durable import sync_directory, write_durably
from agent_service.errors import RefusedError, UnavailableError
from agent_service.models import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKER: Final = ".etcd-chaos-owned"
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_ETCD_DATA: Final = "member"
"""What etcd makes first in its data directory."""


class Marker(Wire):
    """What a marker file says. ``created_realtime_ns`` is Unix time."""

    host: str
    purpose: str
    created_realtime_ns: int


def ensure_directory(path: Path) -> None:
    """Make a directory of the agent's own, if it is not there; raises ``UnavailableError``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot make {path}: {error.strerror}") from error


def read_marker(path: Path) -> Marker | None:
    """The marker of a directory; ``None`` when the directory is not the agent's."""
    try:
        descriptor = os.open(path / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return Marker.model_validate_json(file.read(4096))
        except ValidationError:
            return None


def check_usable(path: Path, roots: Sequence[Path]) -> None:
    """Whether the agent may use ``path``: under a root, and absent, empty or marked.

    Raises:
        RefusedError: somebody else's, or somewhere else.
    """
    _check_place(path, roots)
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise RefusedError(f"{path} is not a directory", remedy="name another data_dir, or move it away")
    if read_marker(path) is None and any(path.iterdir()):
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
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.mkdir(exist_ok=True, mode=0o700)
        if read_marker(path) is None:
            marker = Marker(host=host, purpose=purpose, created_realtime_ns=time.time_ns())
            write_durably(path / MARKER, marker.model_dump_json().encode())
            sync_directory(path.parent)
        if owner is not None:
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise UnavailableError(f"cannot make {path}: {error.strerror}") from error


def check_owned(path: Path, roots: Sequence[Path]) -> None:
    """Whether the agent may move or remove ``path``.

    Raises:
        RefusedError: no valid marker, a symbolic link, outside the roots, or mounted on.
    """
    _check_place(path, roots)
    if path.is_symlink() or not path.is_dir():
        raise RefusedError(f"{path} is not a directory", remedy="look what happened to it")
    if read_marker(path) is None:
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


def remove_owned(path: Path, roots: Sequence[Path]) -> bool:
    """Remove a directory of the agent's with all in it; ``False`` when there was none.

    Raises:
        RefusedError: ``check_owned`` refuses it.
        UnavailableError: some of it could not be removed.
    """
    _check_place(path, roots)
    if not os.path.lexists(path):
        return False
    check_owned(path, roots)
    try:
        # The marker goes last: a removal that is interrupted can be repeated.
        for entry in path.iterdir():
            if entry.name == MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        (path / MARKER).unlink()
        path.rmdir()
    except OSError as error:
        raise UnavailableError(f"cannot remove {error.filename or path}: {error.strerror}") from error
    return True


def move_owned(path: Path, roots: Sequence[Path], destination: Path) -> None:
    """Move a directory of the agent's to ``destination``, to another file system too.

    Raises:
        RefusedError: ``check_owned`` refuses it.
        UnavailableError: it could not be moved; then it is still complete where it was.
    """
    check_owned(path, roots)
    try:
        shutil.move(path, destination)
    except (OSError, shutil.Error) as error:
        raise UnavailableError(f"cannot move {path} to {destination}: {error}") from error


def rename_owned(path: Path, aside: Path, roots: Sequence[Path]) -> None:
    """Give a directory of the agent's another name beside it; nothing if that was done.

    Raises:
        RefusedError: ``check_owned`` refuses it.
        UnavailableError: the disk does not take it.
    """
    if not os.path.lexists(path) and read_marker(aside) is not None:
        return
    check_owned(path, roots)
    _check_place(aside, roots)
    try:
        path.rename(aside)
        sync_directory(path.parent)
    except OSError as error:
        raise UnavailableError(f"cannot rename {path} to {aside}: {error.strerror}") from error


def restore_owned(path: Path, aside: Path, roots: Sequence[Path]) -> None:
    """Undo ``rename_owned``; where there are new data under that name, remove the old. Raises as it does.

    A directory that a start has made and etcd has not filled is no data: it gives way.
    """
    if not os.path.lexists(aside):
        return
    if os.path.lexists(path / _ETCD_DATA):
        remove_owned(aside, roots)
        return
    if os.path.lexists(path):
        remove_owned(path, roots)
    rename_owned(aside, path, roots)


def tree_bytes(path: Path) -> int | None:
    """Bytes that the files under ``path`` take up on disk; ``None`` when there is no such directory."""
    if not path.is_dir():
        return None
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            try:
                total += (Path(directory) / name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue  # etcd removes old snapshots while we look
    return total


def mounts_within(path: Path, mountinfo: str) -> tuple[Path, ...]:
    """Mount points on or under ``path``, out of the text of ``/proc/self/mountinfo``."""
    resolved = path.resolve()
    points = (_unescape(line.split(" ")[4]) for line in mountinfo.splitlines() if line)
    return tuple(point for point in points if point.is_relative_to(resolved))


def _unescape(text: str) -> Path:
    r"""Mountinfo writes blanks in paths as octal, ``\040``."""
    return Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), text))


def _check_place(path: Path, roots: Sequence[Path]) -> None:
    """Strictly under a root, and reached without symbolic links or ``..`` below it."""
    for root in roots:
        if path != root and path.is_relative_to(root) and ".." not in path.parts:
            relative = path.parent.relative_to(root)
            if path.parent.resolve() == root.resolve() / relative:
                return
    raise RefusedError(
        f"{path} does not lie under the agent's data roots: {', '.join(map(str, roots))}",
        remedy="leave data_dir out, or add its parent to data_roots in the agent's settings",
    )


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
