"""The wire: the host."""

from __future__ import annotations

from typing import Literal

from agent_service.models.basics import (
    Wire,
)


class Capability(Wire):
    """Whether this host can do a kind of fault now."""

    kind: str
    available: bool
    reason: str
    """Why not, or what will be used; never empty."""


class HostClock(Wire):
    """One reading of the host's clocks, taken together."""

    boot_id: str
    monotonic_ns: int
    realtime_ns: int


class HostInfo(Wire):
    """What a host is and what it can do."""

    agent_version: str
    api_version: int
    hostname: str
    os_release: str
    kernel: str
    python: str
    cpus: int
    memory_bytes: int
    supervisor: Literal["systemd", "process"]
    etcd_versions: tuple[str, ...]
    """Installed versions that can be started, oldest first."""
    capabilities: tuple[Capability, ...]
    load_lacks: str = ""
    """Why this host can hold no load; empty: it can."""
    clock: HostClock


class ProcessUsage(Wire):
    """psutil figures of one process. ``cpu_seconds`` is user plus system time since its start."""

    pid: int
    cpu_seconds: float
    rss_bytes: int
    open_files: int
    threads: int
    read_bytes: int
    written_bytes: int


class Usage(Wire):
    """psutil figures of host, agent and member (``None`` when no member runs)."""

    cpu_percent: float
    load_1m: float
    memory_used_bytes: int
    memory_total_bytes: int
    disk_used_bytes: int
    disk_free_bytes: int
    """Of the file system that holds the member's data."""
    agent: ProcessUsage
    member: ProcessUsage | None
