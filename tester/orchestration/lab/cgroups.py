"""A cgroup of its own for every host.

Two systemds must not share one: a host's ``systemctl stop`` would wait for processes of its neighbour. It is
also how every process of a host is found again, whatever became of the process that started it.
"""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")


def hierarchies(mountinfo: str) -> tuple[Path, ...]:
    """Mount points of the hierarchies in which systemd keeps its units: v2, and v1's ``name=systemd``."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(before.split(" ")[4]))
    return tuple(found)


def join(name: str) -> None:
    """Move this process into the cgroup ``name``, made where it is missing.

    Raises:
        OSError: the kernel refuses.
    """
    for directory in _directories(name):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def processes(name: str) -> frozenset[int]:
    """Every process in the cgroup ``name`` and below it."""
    found: set[int] = set()
    for directory in _directories(name):
        for path in directory.glob("**/cgroup.procs"):
            try:
                found.update(map(int, path.read_text(encoding="ascii").split()))
            except OSError:
                continue  # a cgroup that ended meanwhile, or a threaded one, holds no process of ours
    return frozenset(found)


def named(prefix: str) -> frozenset[str]:
    """Names of the cgroups that begin with ``prefix``."""
    roots = hierarchies(_MOUNTINFO.read_text(encoding="utf-8"))
    return frozenset(path.name for root in roots for path in root.glob(f"{prefix}*") if path.is_dir())


def remove(name: str) -> None:
    """Remove the empty cgroup ``name``.

    Raises:
        OSError: a process is still in it.
    """
    for directory in _directories(name):
        for path, _, _ in os.walk(directory, topdown=False):
            Path(path).rmdir()


def _directories(name: str) -> tuple[Path, ...]:
    roots = hierarchies(_MOUNTINFO.read_text(encoding="utf-8"))
    return tuple(root / name for root in roots)
