"""Control groups of this host: where they are mounted, and in which the member is. Versions 1, 2 and both at once.

Only two kinds are ever written to: the member's own unit, and groups that a fault made and named after itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent_service.errors import FaultFailedError
from agent_service.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.processes import ProcessId

V2: Final = ""
"""Stands for version 2 where version 1 has a controller's name; ``/proc/PID/cgroup`` writes it so."""

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_NOTHING: Final[Mapping[str, Path]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Directories by hierarchy: a controller's name, ``name=systemd``, or ``V2``."""

    mounts: Mapping[str, Path] = field(default_factory=lambda: _NOTHING)
    """Where each is mounted."""
    member: Mapping[str, Path] = field(default_factory=lambda: _NOTHING)
    """The member's own in each; empty when none runs."""


def read_cgroups(process: ProcessId | None) -> Cgroups:
    """As they are now."""
    mounts = parse_mounts(_MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape"))
    member: dict[str, Path] = {}
    if process is not None and is_alive(process):
        text = Path(f"/proc/{process.pid}/cgroup").read_text(encoding="utf-8", errors="surrogateescape")
        member = parse_membership(text, mounts)
    return Cgroups(mounts, member)


def parse_mounts(mountinfo: str) -> dict[str, Path]:
    """Mount points by hierarchy, out of the text of ``/proc/self/mountinfo``."""
    found: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        point = Path(before.split(" ")[4])
        if kind == "cgroup2":
            found.setdefault(V2, point)
        elif kind == "cgroup":
            for name in options.split(","):
                found.setdefault(name, point)
    return found


def parse_membership(text: str, mounts: Mapping[str, Path]) -> dict[str, Path]:
    """The directories of ``/proc/PID/cgroup``; what lies outside of what is mounted here is left out."""
    found: dict[str, Path] = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in mounts and not path.startswith("/.."):
                found[name] = mounts[name] / path.lstrip("/")
    return found


def is_writable(directory: Path) -> bool:
    """Whether this process may make groups there; a read-only mount says no to root, too."""
    return os.access(directory, os.W_OK)


# --- what faults do -----------------------------------------------------------------------------------------


def enter(directory: Path, process: ProcessId) -> None:
    """Make a group of a fault's own, if it is not there, and move the process into it.

    Raises:
        FaultFailedError: the kernel refuses, or the process is gone.
    """
    if not is_alive(process):
        raise FaultFailedError(f"process {process.pid} is gone")
    try:
        directory.mkdir(exist_ok=True)
        write(directory / "cgroup.procs", str(process.pid))
    except OSError as error:
        raise FaultFailedError(f"cannot make cgroup {directory}: {error.strerror}") from error


def leave(directory: Path) -> None:
    """Move every process of a fault's own group to the group above, and remove it; a missing one is fine.

    Raises:
        FaultFailedError: the kernel refuses.
    """
    try:
        for pid in processes(directory):
            write(directory.parent / "cgroup.procs", str(pid))
        directory.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise FaultFailedError(f"cannot remove cgroup {directory}: {error.strerror}") from error


def processes(directory: Path) -> tuple[int, ...]:
    """Processes in a group; raises ``FileNotFoundError`` when there is no such group."""
    return tuple(map(int, (directory / "cgroup.procs").read_text(encoding="ascii").split()))


def write(file: Path, value: str) -> None:
    """Write one value; raises ``FaultFailedError`` with what the kernel says."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FaultFailedError(f"{file} does not take {value}: {error.strerror}") from error


def shows(file: Path, line: str) -> bool:
    """Whether a file of a group has this line; ``False`` when there is no such group."""
    try:
        return line in file.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
