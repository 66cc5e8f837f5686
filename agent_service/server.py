"""The agent as a process: adopt what is there, serve, and heal on the way out.

The member is not touched when the agent stops: it outlives every agent. Load workers do not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from agent_service.access import Access
from agent_service.app import Agent, create_app
from agent_service.audit import AUDIT_FILE, AuditLog
from agent_service.errors import ListenError
from agent_service.faults.heal import require_healed
from agent_service.faults.manager import FaultManager
from agent_service.handshakes import Door
from agent_service.load.workers import LoadWorkers
from agent_service.member import MemberControl
from agent_service.notify import feed_watchdog, notify
from agent_service.protocol import AgentProtocol
from agent_service.settings import AgentSettings, SettingsError, load_settings
from agent_service.supervisor import create_supervisor
from agent_service.tls import ServerTls, TlsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp


KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 5
"""For requests under way when the agent stops."""

_LIVE_FIELDS = {"tls", "allowed_hosts"}

_log = logging.getLogger(__name__)


def assemble(settings: AgentSettings) -> Agent:
    """The parts of an agent; nothing is started or read yet."""
    audit = AuditLog(settings.state_dir / AUDIT_FILE)
    member = MemberControl(settings, create_supervisor(settings))
    return Agent(settings, member, FaultManager(settings, member, audit), audit, LoadWorkers(settings))


async def serve(settings_path: Path, make_agent: Callable[[AgentSettings], Agent] = assemble) -> None:
    """Run the agent until SIGTERM or SIGINT. SIGHUP takes TLS files and allow-lists from the settings anew.

    ``make_agent`` is the seam for tests without a host.

    Raises:
        SettingsError: the settings are wrong.
        TlsError: a certificate, key or CA file cannot be used.
        UnavailableError: there is an agent already, or what it left behind cannot be read.
        ListenError: the port cannot be had.
        UnhealedError: a fault could not be undone on the way out.
    """
    settings = load_settings(settings_path)
    tls = ServerTls(settings.tls)
    access = Access(settings, tls)
    agent = make_agent(settings)
    server = AgentServer(create_app(agent, access), tls)
    with _signals(server, access, settings_path, settings):
        await agent.member.adopt()
        await agent.faults.adopt()
        agent.load.adopt()
        try:
            with _listen(settings) as listener:
                await _run(server, listener, agent)
        finally:
            notify("STOPPING=1")
            healed = await agent.faults.heal_all("agent-stop", "agent")
            await agent.load.close()
            agent.member.close()
        require_healed(healed)


async def _run(server: AgentServer, listener: socket.socket, agent: Agent) -> None:
    # A lease loop that dies takes the agent with it: better restarted at once than never healing anything.
    async with asyncio.TaskGroup() as group:
        background = (
            agent.faults.run_leases(),
            agent.faults.run_repeats(),
            agent.load.run_leases(),
            feed_watchdog(),
        )
        tasks = [group.create_task(work) for work in background]
        await server.serve([listener])
        for task in tasks:
            task.cancel()


class AgentServer(uvicorn.Server):
    """uvicorn on a socket that is bound already, with the agent's TLS and nobody else's signal handlers."""

    def __init__(self, app: ASGIApp, tls: ServerTls) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=AgentProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._tls = tls
        self._doors: list[Door] = []
        self.servers = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. uvicorn's own version knows no limits for handshakes and reports errors by ``sys.exit``."""
        self._doors = [Door(listener, self._tls.context, self._make_protocol) for listener in sockets or ()]
        self.started = True
        _log.info("listening")
        notify("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody any more, and let requests under way come to their end."""
        for door in self._doors:
            door.close()
        await super().shutdown(sockets)

    def _make_protocol(self) -> AgentProtocol:
        return AgentProtocol(config=self.config, server_state=self.server_state, app_state={})

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The agent handles its signals itself."""
        yield


@contextmanager
def _listen(settings: AgentSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.listen_address else socket.AF_INET
    address = (settings.listen_address, settings.port)
    try:
        listener = socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        raise ListenError(f"{address[0]} port {address[1]}: {os.strerror(error.errno or 0)}") from error
    with listener:
        yield listener


@contextmanager
def _signals(
    server: AgentServer, access: Access, settings_path: Path, settings: AgentSettings
) -> Iterator[None]:
    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, _reload, access, settings_path, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _reload(access: Access, settings_path: Path, running: AgentSettings) -> None:
    try:
        settings = load_settings(settings_path)
        access.reload(settings)
    except (SettingsError, TlsError) as error:
        _log.error("SIGHUP: nothing is changed: %s", error)
        return
    _log.info("SIGHUP: certificates and allow-lists are taken anew")
    names = AgentSettings.model_fields.keys() - _LIVE_FIELDS
    changed = sorted(name for name in names if getattr(settings, name) != getattr(running, name))
    if changed:
        _log.warning("SIGHUP: restart the agent for the changed %s", ", ".join(changed))
