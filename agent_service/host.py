"""What this host is: facts, clocks, installed etcd versions and what faults it can do."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import time
from typing import TYPE_CHECKING

import psutil

from agent_service import API_VERSION, __version__
from agent_service.builds import installed_versions
from agent_service.faults.registry import capabilities
from agent_service.load.launch import lacking
from agent_service.models import HostClock, HostInfo
from agent_service.processes import boot_id

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings


class HostFacts:
    """Facts that hold for as long as the agent runs are read once, the others on each call."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._os_release = _os_release()
        self._memory_bytes = int(psutil.virtual_memory().total)

    def clock(self) -> HostClock:
        """The clocks, read one right after the other."""
        return HostClock(boot_id=boot_id(), monotonic_ns=time.monotonic_ns(), realtime_ns=time.time_ns())

    async def info(self) -> HostInfo:
        """Everything; looks for installed versions and tools anew each time."""
        return HostInfo(
            agent_version=__version__,
            api_version=API_VERSION,
            hostname=socket.gethostname(),
            os_release=self._os_release,
            kernel=platform.release(),
            python=platform.python_version(),
            cpus=os.cpu_count() or 1,
            memory_bytes=self._memory_bytes,
            supervisor=self._settings.supervisor,
            etcd_versions=await asyncio.to_thread(installed_versions, self._settings.etcd_root),
            capabilities=await capabilities(self._settings),
            load_lacks=lacking(),
            clock=self.clock(),
        )


def _os_release() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "unknown"
    return release.get("PRETTY_NAME", "unknown")
