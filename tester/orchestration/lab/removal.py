"""Take a lab away: whatever is left of it, whole or half-built, found by its name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tester.orchestration.commands import run_command
from tester.orchestration.lab.machine import end_remains
from tester.orchestration.lab.spec import (
    LabError,
    is_marked,
    lab_directory,
    labs_root,
    possible_hosts,
    switch_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMAND_SECONDS = 20.0
_MOUNTINFO = Path("/proc/self/mountinfo")
_NETNS = Path("/run/netns")
_NET_CLASS = Path("/sys/class/net")


async def remove_lab(name: str, on_progress: Callable[[str], None]) -> bool:
    """Remove the lab of this name: processes, mounts, network, files. ``False``: there was nothing.

    Raises:
        LabError: its directory is no lab's, a process does not end, or something still uses a mount.
    """
    directory = lab_directory(name)
    if directory.exists() and not is_marked(directory):
        raise LabError(f"{directory} is no lab's: nothing is removed", remedy="look what it is, move it away")
    namespaces = _namespaces(name)
    if not directory.exists() and not namespaces and not (_NET_CLASS / switch_name(name)).exists():
        return False
    on_progress(f"lab {name}: switching the hosts off")
    for socket in await asyncio.to_thread(
        lambda: tuple(path for path in _ssh(directory) if path.is_socket())
    ):
        await close_connection(socket)
    for host in possible_hosts(name):
        await asyncio.to_thread(end_remains, host)
    on_progress(f"lab {name}: removing mounts, network and files")
    await _unmount(directory)
    await _remove_network(name, namespaces)
    await asyncio.to_thread(_remove_files, directory)
    return True


async def close_connection(socket: Path) -> None:
    """End the shared ssh connection behind ``socket``; one that is dead already leaves only the socket."""
    argv = ("ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "lab")
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await asyncio.to_thread(socket.unlink, missing_ok=True)


def mounts_below(mountinfo: str, directory: Path) -> tuple[Path, ...]:
    """Mount points in ``directory`` and below it, deepest first."""
    points = (Path(_unescaped(line.split(" ")[4])) for line in mountinfo.splitlines())
    found = [point for point in points if point == directory or directory in point.parents]
    return tuple(sorted(found, key=lambda point: len(point.parts), reverse=True))


def _mounts_now(directory: Path) -> tuple[Path, ...]:
    return mounts_below(_MOUNTINFO.read_text(encoding="utf-8"), directory.resolve())


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _ssh(directory: Path) -> tuple[Path, ...]:
    return tuple((directory / "ssh").glob("*"))


def _namespaces(name: str) -> tuple[str, ...]:
    switch = switch_name(name)
    found = (path.name for path in _NETNS.glob(f"{switch}*"))
    return tuple(sorted(found_name for found_name in found if found_name.split("-")[:2] == switch.split("-")))


async def _unmount(directory: Path) -> None:
    for point in await asyncio.to_thread(_mounts_now, directory):
        await run_command(
            ("umount", str(point)),
            timeout_seconds=_COMMAND_SECONDS,
            remedy=f"see who uses it: fuser -vm {point}; then run this again",
        )


async def _remove_network(name: str, namespaces: tuple[str, ...]) -> None:
    switch = switch_name(name)
    # The kernel empties a namespace some time after it is gone; what reaches into this machine goes now.
    if (_NET_CLASS / switch).exists():
        await run_command(("ip", "link", "delete", switch), timeout_seconds=_COMMAND_SECONDS)
    for namespace in namespaces:
        await run_command(("ip", "netns", "delete", namespace), timeout_seconds=_COMMAND_SECONDS)


def _remove_files(directory: Path) -> None:
    if _mounts_now(directory):
        raise LabError(f"{directory} has mounts again: its files stay", remedy="run this again")
    if directory.exists():
        shutil.rmtree(directory)
    if "ETCD_CHAOS_LABS" not in os.environ:
        with contextlib.suppress(OSError):  # other labs, or an agent of this machine's own
            labs_root().rmdir()
            labs_root().parent.rmdir()
