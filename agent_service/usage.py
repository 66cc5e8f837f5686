"""What host, agent and member use, by psutil."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psutil

from agent_service.errors import UnavailableError
from agent_service.models import ProcessUsage, Usage

if TYPE_CHECKING:
    from pathlib import Path


class UsageMeter:
    """Reads figures. ``cpu_percent`` covers the time since the last reading, or since construction.

    ``data_root`` names the file system whose space is reported.
    """

    def __init__(self, data_root: Path) -> None:
        self._data_root = data_root
        self._agent = psutil.Process()
        self._cpu = _cpu_seconds()

    def read(self, member_pid: int | None) -> Usage:
        """All figures now; it may wait for a slow file system, so call it from a thread.

        Raises:
            UnavailableError: the kernel does not let the agent look.
        """
        memory = psutil.virtual_memory()
        disk = shutil.disk_usage(_existing(self._data_root))
        return Usage(
            cpu_percent=self._cpu_percent(),
            load_1m=psutil.getloadavg()[0],
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            disk_used_bytes=disk.used,
            disk_free_bytes=disk.free,
            agent=_process_usage(self._agent),
            member=None if member_pid is None else _usage_of(member_pid),
        )

    def _cpu_percent(self) -> float:
        busy_before, total_before = self._cpu
        self._cpu = busy, total = _cpu_seconds()
        elapsed = total - total_before
        share = (busy - busy_before) / elapsed if elapsed > 0 else 0.0
        return 100.0 * min(1.0, max(0.0, share))  # the kernel's idle and iowait times may go back a little


def _cpu_seconds() -> tuple[float, float]:
    """Busy and total CPU seconds of all processors since boot."""
    times = psutil.cpu_times()
    # guest time is part of user time already; waiting for a disk is not being busy
    total = times.user + times.nice + times.system + times.idle + times.iowait
    total += times.irq + times.softirq + times.steal
    return total - times.idle - times.iowait, total


def _existing(path: Path) -> Path:
    """The path or its nearest parent that is there: before the first member there is no data directory."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _usage_of(pid: int) -> ProcessUsage | None:
    try:
        process = psutil.Process(pid)
        # the kernel keeps a process that nobody has waited for; there is nothing of it to measure
        return None if process.status() == psutil.STATUS_ZOMBIE else _process_usage(process)
    except psutil.NoSuchProcess:
        return None


def _process_usage(process: psutil.Process) -> ProcessUsage:
    try:
        with process.oneshot():
            cpu, disk = process.cpu_times(), process.io_counters()
            return ProcessUsage(
                pid=process.pid,
                cpu_seconds=cpu.user + cpu.system,
                rss_bytes=process.memory_info().rss,
                open_files=process.num_fds(),
                threads=process.num_threads(),
                read_bytes=disk.read_bytes,
                written_bytes=disk.write_bytes,
            )
    except psutil.AccessDenied as error:
        raise UnavailableError(
            f"the agent may not read /proc/{process.pid}/{{io,fd}}", remedy="give it CAP_SYS_PTRACE"
        ) from error
