"""Every kind of fault: who plans it, what it occupies, and whether this host can do it.

A new kind is a wire model, a planner, a case in each of the three functions here, and its golden test.
"""

from __future__ import annotations

import os
import pwd
import shutil
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from agent_service import commands
from agent_service.emergency import describe, read_stop
from agent_service.errors import UnavailableError
from agent_service.faults.base import HostContext, Resource
from agent_service.faults.network import plan_isolate, plan_partition, plan_port
from agent_service.faults.nftables import NFT
from agent_service.faults.process import plan_crash_loop, plan_kill, plan_pause, plan_restart, plan_stop
from agent_service.models import (
    Capability,
    ClientPortFault,
    CrashLoopFault,
    IsolateFault,
    KillFault,
    PartitionFault,
    PauseFault,
    PeerPortFault,
    RestartFault,
    StopFault,
)

if TYPE_CHECKING:
    from agent_service.faults.steps import FaultSteps
    from agent_service.models import FaultSpec
    from agent_service.settings import AgentSettings

_PROCESS_KINDS: Final = ("stop", "kill", "pause", "restart", "crash-loop")
_NETWORK_KINDS: Final = ("isolate", "partition", "client-port", "peer-port")

_PROBE: Final = """\
table inet etcd_chaos_probe {
  chain input {
    type filter hook input priority -300; policy accept;
    ip saddr 192.0.2.1 tcp dport 1 drop
    ip6 saddr 2001:db8::1 tcp dport 1 reject with tcp reset
  }
}
"""
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


def plan_fault(fault_id: str, spec: FaultSpec, host: HostContext) -> FaultSteps:
    """The steps of a fault; pure.

    Raises:
        IllegalStateError: the member is in no state for it.
        RefusedError: it would hit what is protected.
    """
    match spec:
        case StopFault():
            return plan_stop(fault_id, spec, host)
        case KillFault():
            return plan_kill(fault_id, spec, host)
        case PauseFault():
            return plan_pause(fault_id, spec, host)
        case RestartFault():
            return plan_restart(fault_id, spec, host)
        case CrashLoopFault():
            return plan_crash_loop(fault_id, spec, host)
        case IsolateFault():
            return plan_isolate(fault_id, spec, host)
        case PartitionFault():
            return plan_partition(fault_id, spec, host)
        case ClientPortFault() | PeerPortFault():
            return plan_port(fault_id, spec, host)
    assert_never(spec)


def resource_of(spec: FaultSpec) -> Resource:
    """What a fault of this kind occupies."""
    match spec:
        case IsolateFault() | PartitionFault() | PeerPortFault():
            return Resource.PEER_TRAFFIC
        case ClientPortFault():
            return Resource.CLIENT_TRAFFIC
        case _:
            return Resource.PROCESS


async def capabilities(settings: AgentSettings) -> tuple[Capability, ...]:
    """What this host can do now, one entry a kind."""
    stop = read_stop(settings.state_dir)
    if stop.engaged:
        return tuple(_capability(kind, describe(stop), "") for kind in (*_PROCESS_KINDS, *_NETWORK_KINDS))
    process_lack = _process_lack(settings)
    network_lack = await _network_lack()
    return (
        *(_capability(kind, process_lack, "by signals to etcd") for kind in _PROCESS_KINDS),
        *(_capability(kind, network_lack, "by an nftables table of its own") for kind in _NETWORK_KINDS),
    )


async def require_capability(spec: FaultSpec, settings: AgentSettings) -> None:
    """Raise ``UnavailableError`` with the reason when this host cannot do such a fault."""
    traffic = resource_of(spec).is_traffic
    lack = await _network_lack() if traffic else _process_lack(settings)
    if lack is not None:
        raise UnavailableError(f"this host cannot do {spec.kind}: {lack}")


def _capability(kind: str, lack: str | None, means: str) -> Capability:
    return Capability(kind=kind, available=lack is None, reason=means if lack is None else lack)


def _process_lack(settings: AgentSettings) -> str | None:
    if settings.supervisor == "systemd":
        if not Path("/run/systemd/system").is_dir():
            return "systemd does not run here; set supervisor to process"
        if shutil.which("systemd-run", path=_PATH) is None:
            return "there is no systemd-run"
    if _signals_other_users(settings) and not has_capability(LinuxCapability.KILL):
        return f"the agent may not signal processes of {settings.member_user}: it lacks CAP_KILL"
    return None


def _signals_other_users(settings: AgentSettings) -> bool:
    if settings.member_user is None:
        return False
    try:
        return pwd.getpwnam(settings.member_user).pw_uid != os.geteuid()
    except KeyError:
        return True


async def _network_lack() -> str | None:
    if shutil.which(NFT, path=_PATH) is None:
        return "there is no nft; install nftables"
    if not has_capability(LinuxCapability.NET_ADMIN):
        return "the agent lacks CAP_NET_ADMIN"
    # Checked by the kernel and thrown away: nothing is loaded.
    probe = await commands.run((NFT, "--check", "-f", "-"), stdin=_PROBE)
    return f"the kernel refuses nftables rules: {probe.complaint}" if probe.code != 0 else None


class LinuxCapability(IntEnum):
    """Bits of capability sets, as ``capabilities(7)`` numbers them."""

    KILL = 5
    NET_ADMIN = 12


def has_capability(capability: LinuxCapability) -> bool:
    """Whether this process has the capability in effect."""
    return (
        effective_capabilities(Path("/proc/self/status").read_text(encoding="ascii")) >> capability & 1 == 1
    )


def effective_capabilities(status: str) -> int:
    """The bit set ``CapEff`` out of the text of ``/proc/PID/status``."""
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return int(line.partition(":")[2], 16)
