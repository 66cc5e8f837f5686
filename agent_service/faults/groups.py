"""Which faults an operator has enabled on a host, by groups that need the same of its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.errors import RefusedError

if TYPE_CHECKING:
    from agent_service.models import Capability
    from agent_service.settings import AgentSettings, FaultGroup

KINDS: Final[dict[FaultGroup, tuple[str, ...]]] = {
    "process": ("stop", "kill", "pause", "restart", "crash-loop", "lose-data", "failpoint"),
    "network": ("isolate", "partition", "client-port", "peer-port", "network"),
    "disk": (
        *("slow-fsync", "slow-io", "io-error", "power-loss", "disk-full", "disk-throttle"),
        "corrupt-file",
    ),
    "cgroup": ("freeze", "cpu-throttle", "memory-limit"),
    "clock": ("clock-offset", "wall-clock"),
    "host": ("reboot", "power-off", "agent-kill", "agent-hang"),
}
_GROUP_OF: Final = {kind: group for group, kinds in KINDS.items() for kind in kinds}


def group_lack(kind: str, settings: AgentSettings) -> str | None:
    """Why a kind of fault is not enabled here; ``None``: it is."""
    group = _GROUP_OF[kind]
    return None if group in settings.faults else f"faults of group {group} are not in its etcd_agent_faults"


def require_group(kind: str, settings: AgentSettings) -> None:
    """Raise ``RefusedError`` where a kind of fault is not enabled."""
    lack = group_lack(kind, settings)
    if lack is not None:
        raise RefusedError(
            f"{kind} is not enabled on this host: {lack}",
            remedy=f"add {_GROUP_OF[kind]} to etcd_agent_faults in the inventory, and deploy",
        )


def enabled(capability: Capability, settings: AgentSettings) -> Capability:
    """What a host can do, less what is not enabled there."""
    lack = group_lack(capability.kind, settings)
    if lack is None:
        return capability
    return capability.model_copy(update={"available": False, "reason": lack})
