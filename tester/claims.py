"""Hosts that a run of this controller has for itself: two at once would break and clean up each other's members."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tester.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tester.inventory import Host


@contextmanager
def claim(hosts: Sequence[Host], folder: Path, holder: str) -> Iterator[None]:
    """Have ``hosts`` while the body of the ``with`` runs; the kernel gives them back however this process dies.

    Args:
        hosts: known by where their agents listen: inventories may name them differently.
        folder: holds a lock file a host; made when missing.
        holder: whom the next one is told of.

    Raises:
        InfrastructureError: another run has one of them, or the folder cannot be written.
    """
    with ExitStack() as held:
        for host in hosts:
            descriptor = _open(folder, f"{host.address}-{host.agent_port}")
            held.callback(os.close, descriptor)
            _lock(descriptor, host)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{holder} (pid {os.getpid()})".encode(), 0)
        yield


def _open(folder: Path, name: str) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InfrastructureError(f"{folder / name}: {error.strerror}") from error


def _lock(descriptor: int, host: Host) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        other = os.pread(descriptor, 200, 0).decode(errors="replace") or "another run"
        raise InfrastructureError(
            f"host {host.name} ({host.address}) is in use by {other}",
            remedy="wait until that has ended, or take other hosts",
        ) from error
