"""Which directories are the agent's own, and where they are: by a marker within, and by descriptors (``beneath``).

What is looked at is what is touched, whatever somebody puts in its place meanwhile.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service import beneath
from agent_service.errors import RefusedError, UnavailableError
from agent_service.models import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MARKER: Final = ".etcd-chaos-owned"
_LEADS_ELSEWHERE: Final = frozenset({errno.ELOOP, errno.ENOTDIR})


class Marker(Wire):
    """What a marker file says. ``created_realtime_ns`` is Unix time."""

    host: str
    purpose: str
    created_realtime_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a directory that is held open."""

    path: Path
    above: int

    def is_there(self) -> bool:
        """Whether there is anything of that name."""
        return exists(self.path.name, self.above)

    @contextmanager
    def opened(self, remedy: str = "look what happened to it") -> Iterator[int]:
        """The directory itself; raises ``RefusedError`` where it is none."""
        try:
            descriptor = os.open(self.path.name, beneath.DIRECTORY, dir_fd=self.above)
        except OSError as error:
            if error.errno in {*_LEADS_ELSEWHERE, errno.ENOENT}:
                raise RefusedError(f"{self.path} is not a directory", remedy=remedy) from error
            raise UnavailableError(f"cannot open {self.path}: {error.strerror}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def read_marker(path: Path) -> Marker | None:
    """The marker of a directory; ``None`` when the directory is not the agent's."""
    try:
        descriptor = os.open(path, beneath.DIRECTORY)
    except OSError:
        return None
    try:
        return marker_in(descriptor)
    finally:
        os.close(descriptor)


def marker_in(directory: int) -> Marker | None:
    """The same of one that is open."""
    try:
        descriptor = beneath.open_file(MARKER, os.O_RDONLY, above=directory)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return Marker.model_validate_json(file.read(4096))
        except ValidationError:
            return None


def check_place(path: Path, roots: Sequence[Path]) -> None:
    """Strictly under a root, and reached without symbolic links or ``..`` below it."""
    root = beneath.root_of(path, roots)
    if root is None or path.parent.resolve() != root.resolve() / path.parent.relative_to(root):
        raise _elsewhere(path, roots)


def _elsewhere(path: Path, roots: Sequence[Path]) -> RefusedError:
    return RefusedError(
        f"{path} does not lie under the agent's data roots: {', '.join(map(str, roots))}",
        remedy="leave data_dir out, or add its parent to data_roots in the agent's settings",
    )


@contextmanager
def place_of(path: Path, roots: Sequence[Path], *, make: bool = False) -> Iterator[Place]:
    """Where ``path`` is, whatever becomes of the names that lead there; ``make``: the directories above, too.

    Raises:
        RefusedError: not under a root, or by way of a link.
        UnavailableError: the directory that it is in cannot be opened.
    """
    root = beneath.root_of(path, roots)
    if root is None:
        raise _elsewhere(path, roots)
    try:
        if make:
            root.mkdir(parents=True, exist_ok=True, mode=0o755)
        above = beneath.open_directory(root, *path.parent.relative_to(root).parts, make=make)
    except OSError as error:
        if error.errno in _LEADS_ELSEWHERE:
            raise _elsewhere(path, roots) from error
        raise UnavailableError(f"cannot open {path.parent}: {error.strerror}") from error
    try:
        yield Place(path, above)
    finally:
        os.close(above)


def exists(name: str, directory: int) -> bool:
    """Whether there is anything of that name, a link that leads nowhere included."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
