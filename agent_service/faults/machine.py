"""The machine under the member, as a planner sees it, and what it cannot do."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from agent_service import timens
from agent_service.cgroups import V2, Cgroups, is_writable, read_cgroups
from agent_service.privileges import LinuxCapability, has_capability
from agent_service.processes import ProcessId, boot_id, identify, is_alive
from agent_service.supervisor.systemd import SLICE, UNIT

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings

STRIKES: Final = "strikes"
"""Folder in the state directory with the orders of blows against agent and host."""

_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEMD: Final = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class Machine:
    """Plain values; times are of the moment of planning."""

    supervisor: Literal["systemd", "process"] = "systemd"
    cgroups: Cgroups = field(default_factory=Cgroups)
    monotonic_seconds: float = 0.0
    since_boot_ns: int = 0
    """How far the wall clock is ahead of the time since boot."""
    boot_id: str = ""
    agent: ProcessId = field(default_factory=lambda: ProcessId(0, 0, ""))
    strikes: str = f"/var/lib/etcd-chaos/{STRIKES}"


def read_machine(settings: AgentSettings, process: ProcessId | None) -> Machine:
    """As it is now; ``process`` is the member's."""
    return Machine(
        supervisor=settings.supervisor,
        cgroups=_cgroups(settings, process),
        monotonic_seconds=time.monotonic(),
        since_boot_ns=wall_since_boot_ns(),
        boot_id=boot_id(),
        agent=identify(os.getpid()) or ProcessId(os.getpid(), 0, boot_id()),
        strikes=str(settings.state_dir / STRIKES),
    )


def _cgroups(settings: AgentSettings, process: ProcessId | None) -> Cgroups:
    """The member's; for a plan without a member, those in which it would be."""
    if process is not None and is_alive(process):
        return read_cgroups(process)
    if settings.supervisor == "process":
        return read_cgroups(identify(os.getpid()))
    mounts = read_cgroups(None).mounts
    return Cgroups(mounts, {name: mount / SLICE / UNIT for name, mount in mounts.items()})


def wall_since_boot_ns() -> int:
    """How far the wall clock is ahead of the time since boot, which nobody can set."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


# --- what is lacking; None: nothing --------------------------------------------------------------------------


def freeze_lack() -> str | None:
    """Why no process of this host can be frozen."""
    mounts = read_cgroups(None).mounts
    there = [mounts[name] for name in (V2, "freezer") if name in mounts]
    if not there:
        return "neither cgroup v2 nor the freezer of v1 is mounted"
    return None if any(map(is_writable, there)) else f"{there[0]} is read-only here"


def limit_lack(settings: AgentSettings, controller: Literal["cpu", "memory", "io"]) -> str | None:
    """Why no process of this host can be limited in this."""
    mounts = read_cgroups(None).mounts
    legacy = "blkio" if controller == "io" else controller
    if legacy in mounts:
        return None if is_writable(mounts[legacy]) else f"{mounts[legacy]} is read-only here"
    if V2 not in mounts:
        return f"there is no cgroup controller {controller}"
    if settings.supervisor != "systemd":
        return f"cgroup v1 has no {controller} here, and v2 is done by systemd only"
    available = (mounts[V2] / "cgroup.controllers").read_text(encoding="ascii").split()
    return None if controller in available else f"cgroup v2 has no controller {controller} here"


def clock_lack(settings: AgentSettings) -> str | None:
    """Why no member can have a monotonic clock of its own."""
    if not timens.is_there():
        return "the kernel has no time namespaces (CONFIG_TIME_NS)"
    if settings.supervisor == "process" and not has_capability(LinuxCapability.SYS_ADMIN):
        return "the agent lacks CAP_SYS_ADMIN, and without systemd nobody starts etcd for it"
    return None


def wall_clock_lack(settings: AgentSettings) -> str | None:
    """Why the wall clock of this host is not set."""
    if not settings.own_clock:
        return "the clock may be others', too: etcd_chaos_own_clock is not true for it in the inventory"
    return None if has_capability(LinuxCapability.SYS_TIME) else "the agent lacks CAP_SYS_TIME"


def host_lack() -> str | None:
    """Why this host cannot be switched off or rebooted."""
    if not _SYSTEMD.is_dir():
        return "systemd does not run here"
    missing = [name for name in ("systemctl", "systemd-run") if shutil.which(name, path=_PATH) is None]
    return f"there is no {missing[0]}" if missing else None


def agent_lack() -> str | None:
    """Why nobody would start the agent again."""
    return None if os.environ.get("NOTIFY_SOCKET") else "no systemd watches over this agent"
