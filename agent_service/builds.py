"""Which etcd versions are installed on this host: ``ROOT/VERSION/bin/etcd``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

_RESTORE_TOOLS = ("etcdutl", "etcdctl")
_NUMBER = re.compile(r"(\d+)")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions as people read them: 3.5.9 before 3.5.16, and ``3.5.0-rc.1`` before 3.5.0."""
    release, _, prerelease = version.partition("-")
    parts = [*_parts(release), (1, 0, "") if not prerelease else (0, 0, ""), *_parts(prerelease)]
    return tuple(parts)


def _parts(text: str) -> list[tuple[int, int, str]]:
    return [(2, int(part), "") if part.isdigit() else (0, 0, part) for part in _NUMBER.split(text) if part]


def installed_versions(root: Path) -> tuple[str, ...]:
    """Versions under ``root`` whose ``bin/etcd`` can be executed, oldest first."""
    if not root.is_dir():
        return ()
    names = (entry.name for entry in root.iterdir() if _is_executable(_binary(root, entry.name)))
    return tuple(sorted(names, key=version_key))


def etcd_binary(root: Path, version: str) -> Path:
    """Path of ``etcd`` of an installed version.

    Raises:
        UnavailableError: it is not installed, or its file is not executable.
    """
    path = _binary(root, version)
    if not path.is_file():
        there = ", ".join(installed_versions(root)) or "none"
        raise UnavailableError(
            f"etcd {version} is not installed: {path} is missing; installed: {there}",
            remedy="add the version to etcd_builds and run playbooks/deploy.yml",
        )
    if not _is_executable(path):
        raise UnavailableError(
            f"etcd {version} cannot be started: {path} is not executable",
            remedy="run playbooks/deploy.yml to install it again",
        )
    return path


def restore_tool(root: Path, version: str) -> Path:
    """The program of an installed version that restores snapshots: ``etcdutl`` (3.5 and later), or ``etcdctl``.

    Raises:
        UnavailableError: it has neither.
    """
    for name in _RESTORE_TOOLS:
        path = root / version / "bin" / name
        if _is_executable(path):
            return path
    raise UnavailableError(
        f"nothing restores a snapshot: there is neither {' nor '.join(_RESTORE_TOOLS)} in {root / version / 'bin'}",
        remedy="add a build with one of them to etcd_builds and run playbooks/deploy.yml",
    )


def _binary(root: Path, version: str) -> Path:
    return root / version / "bin" / "etcd"


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
