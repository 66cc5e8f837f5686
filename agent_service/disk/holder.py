"""Who holds the layer's process, and takes its mount away: systemd, or the agent itself.

An agent that is a hardened unit may not mount. Under systemd the layer is a unit of its own that may, and whose
end unmounts; with the ``process`` supervisor the agent needs ``CAP_SYS_ADMIN``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from agent_service import commands
from agent_service.disk.messages import SOURCE
from agent_service.processes import is_alive
from agent_service.supervisor.process import ProcessSupervisor
from agent_service.supervisor.systemd import Service, SystemdSupervisor

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.processes import ProcessId
    from agent_service.settings import AgentSettings
    from agent_service.supervisor.base import Launch

UNIT: Final = "etcd-chaos-disk.service"
_END_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01


def umount_argv(mount: Path) -> tuple[str, ...]:
    """Takes the mount out of sight at once, also while a dead layer keeps it busy."""
    return ("umount", "--lazy", "--", str(mount))


def layer_service(mount: Path) -> Service:
    """The layer's unit: root, as a mount needs, but with nothing more than that and the files it passes on."""
    return Service(
        unit=UNIT,
        description="etcd-chaos: the disk of the member under test",
        properties=(
            f"ExecStopPost=-/usr/bin/{' '.join(umount_argv(mount))}",
            "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER",
            "NoNewPrivileges=yes",
            "OOMScoreAdjust=-900",
        ),
    )


class Holder(Protocol):
    """Starts a layer that outlives the agent, finds it again, and ends it with its mount."""

    async def launch(self, launch: Launch) -> ProcessId:
        """Start it; raises as a supervisor does."""

    async def find(self) -> ProcessId | None:
        """Its process, if that still runs."""

    async def end(self, mount: Path) -> None:
        """End it, and unmount; raises ``UnavailableError``. Safe to repeat."""


class SystemdHolder:
    """Implements ``Holder`` with a transient unit."""

    def __init__(self, mount: Path) -> None:
        self._supervisor = SystemdSupervisor(layer_service(mount))

    async def launch(self, launch: Launch) -> ProcessId:
        """Start the unit."""
        return await self._supervisor.launch(launch)

    async def find(self) -> ProcessId | None:
        """The unit's main process."""
        return await self._supervisor.find()

    async def end(self, mount: Path) -> None:  # noqa: ARG002 - the unit knows its mount
        """Stop the unit, which unmounts."""
        await self._supervisor.stop()


class ProcessHolder:
    """Implements ``Holder`` without systemd."""

    def __init__(self, directory: Path) -> None:
        self._supervisor = ProcessSupervisor(directory)

    async def launch(self, launch: Launch) -> ProcessId:
        """Start a process that stays when the agent goes."""
        return await self._supervisor.launch(launch)

    async def find(self) -> ProcessId | None:
        """The process, if it lives."""
        return await self._supervisor.find()

    async def end(self, mount: Path) -> None:
        """Kill and unmount: what the layer was given lies on the disk already."""
        process = await self._supervisor.find()
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            deadline = time.monotonic() + _END_SECONDS
            while is_alive(process) and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel does not tell
                await asyncio.sleep(_POLL_SECONDS)
        if is_mounted(mount):
            await commands.check(umount_argv(mount))
        await self._supervisor.release()


def create_holder(settings: AgentSettings, mount: Path) -> Holder:
    """As the settings name the supervisor."""
    if settings.supervisor == "systemd":
        return SystemdHolder(mount)
    return ProcessHolder(settings.state_dir / "disk")


def is_mounted(mount: Path) -> bool:
    """Whether a layer, dead or alive, is mounted there, as this process sees it."""
    point = str(mount).replace(" ", r"\040")  # as the kernel writes them
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - no file
        return any(line.split(" ")[4] == point and f" {SOURCE} " in line for line in lines)
