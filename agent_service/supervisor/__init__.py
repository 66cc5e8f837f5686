"""Who holds the member process, so that it outlives the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.supervisor.process import ProcessSupervisor
from agent_service.supervisor.systemd import SystemdSupervisor

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings
    from agent_service.supervisor.base import Supervisor


def create_supervisor(settings: AgentSettings) -> Supervisor:
    """The supervisor that the settings name."""
    if settings.supervisor == "systemd":
        return SystemdSupervisor()
    return ProcessSupervisor(settings.state_dir / "process")
