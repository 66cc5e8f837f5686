"""The layer under this host's member, as the agent has it: mounted, asked, unmounted."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service import datadir
from agent_service.disk.client import say
from agent_service.disk.holder import create_holder, is_mounted
from agent_service.disk.messages import Ask
from agent_service.errors import UnavailableError
from agent_service.logfile import last_lines
from agent_service.processes import is_alive
from agent_service.supervisor.base import Launch

if TYPE_CHECKING:
    from agent_service.disk.messages import Request, State
    from agent_service.processes import ProcessId
    from agent_service.settings import AgentSettings

_START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_PACKAGES: Final = Path(__file__).parents[2]
"""The layer is of the same version as the agent, wherever that was started."""


def mount_of(data: Path) -> Path:
    """Where a member sees data that lie in ``data``: beside them, so that they are in reach without the layer."""
    return data.with_name(f"{data.name}.disk")


def layer_argv(data: Path, mount: Path, socket: Path, user: str | None) -> tuple[str, ...]:
    """The layer's command line."""
    own = (str(data), str(mount), str(socket), *((user,) if user is not None else ()))
    return (sys.executable, "-m", "agent_service.disk", *own)


class DiskLayer:
    """At most one a host. Nothing here touches what lies behind the mount: a layer that hangs blocks nobody."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._socket = settings.state_dir / "disk.sock"
        self._log = settings.log_dir / "disk.log"
        self._process: ProcessId | None = None
        self.looked_at_for: set[str] = set()
        """Faults for which there are, or are about to be, files to look through it."""

    async def attach(self, data: Path) -> Path:
        """Mount it over ``data``, unless it is; returns where.

        Raises:
            UnavailableError: it does not come up; with its last words.
        """
        mount = mount_of(data)
        holder = create_holder(self._settings, mount)
        self._process = await holder.find()
        if self._process is not None and is_mounted(mount):
            await self.say(Ask())
            return mount
        await holder.end(mount)
        settings = self._settings
        await asyncio.to_thread(
            datadir.create_owned,
            mount,
            settings.data_roots,
            host=settings.host,
            purpose=f"where {data.name} is mounted",
        )
        argv = layer_argv(data, mount, self._socket, settings.member_user)
        launch = Launch(argv, {"PYTHONPATH": str(_PACKAGES)}, self._log, None)
        self._process = await holder.launch(launch)
        try:
            await self._wait(self._process, mount)
        except UnavailableError:
            await holder.end(mount)
            raise
        return mount

    async def _wait(self, process: ProcessId, mount: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                await self.say(Ask())
            except UnavailableError:
                if is_alive(process) and time.monotonic() < deadline:
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                words = "; ".join(last_lines(self._log, 3)) or "nothing"
                raise UnavailableError(
                    f"the disk layer does not come up. Its last words: {words}",
                    remedy="it needs /dev/fuse and libfuse3 (package fuse3): run playbooks/deploy.yml with "
                    "etcd_agent_disk_layer",
                ) from None
            if is_mounted(mount):
                return
            raise UnavailableError(
                f"the disk layer is mounted where the agent does not see it: {mount}",
                remedy="run agent and layer in the same mount namespace",
            )

    async def detach(self, data: Path) -> None:
        """Unmount it, if it is there; raises ``UnavailableError``."""
        mount = mount_of(data)
        self._process = None
        if mount.parent.is_dir():
            await create_holder(self._settings, mount).end(mount)

    async def adopt(self, data: Path) -> None:
        """At agent start: find it again."""
        self._process = await create_holder(self._settings, mount_of(data)).find()

    @property
    def alive(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and is_alive(self._process)

    async def say(self, request: Request) -> State:
        """Say something to it; raises ``UnavailableError`` when it does not answer."""
        return await say(self._socket, request)
