"""Every kind of fault: who plans it, what it occupies, and whether this host can do it.

A new kind is a wire model, a planner, a case in each of the three functions here, and its golden test.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from agent_service.builds import etcd_binary, installed_versions
from agent_service.disk.lack import layer_lack
from agent_service.emergency import describe, read_stop
from agent_service.errors import RefusedError, UnavailableError
from agent_service.failpoints import has_failpoints
from agent_service.faults import machine, nft
from agent_service.faults.base import HostContext, Resource
from agent_service.faults.blows import plan_agent_hang, plan_agent_kill, plan_down
from agent_service.faults.clocks import plan_clock_offset, plan_wall_clock
from agent_service.faults.disk import plan_disk
from agent_service.faults.failpoint import plan_failpoint
from agent_service.faults.groups import enabled, require_group
from agent_service.faults.limits import plan_cpu, plan_freeze, plan_memory
from agent_service.faults.means import find_means, find_tool
from agent_service.faults.network import plan_isolate, plan_partition, plan_port
from agent_service.faults.nft import NFT
from agent_service.faults.process import (
    plan_crash_loop,
    plan_kill,
    plan_lose_data,
    plan_pause,
    plan_restart,
    plan_stop,
)
from agent_service.faults.quality import plan_network
from agent_service.models import (
    AgentHangFault,
    AgentKillFault,
    Capability,
    ClientPortFault,
    ClockOffsetFault,
    CorruptFileFault,
    CpuThrottleFault,
    CrashLoopFault,
    DiskFullFault,
    DiskThrottleFault,
    FailpointFault,
    FreezeFault,
    IoErrorFault,
    IsolateFault,
    KillFault,
    LoseDataFault,
    MemoryLimitFault,
    NetworkFault,
    PartitionFault,
    PauseFault,
    PeerPortFault,
    PowerLossFault,
    PowerOffFault,
    RebootFault,
    RestartFault,
    SlowFsyncFault,
    SlowIoFault,
    StopFault,
    WallClockFault,
)
from agent_service.privileges import LinuxCapability, has_capability

if TYPE_CHECKING:
    from agent_service.faults.base import NetworkMeans
    from agent_service.faults.steps import FaultSteps
    from agent_service.models import FaultSpec
    from agent_service.settings import AgentSettings

    _ProcessSpec: TypeAlias = (
        StopFault | KillFault | PauseFault | RestartFault | CrashLoopFault | LoseDataFault
    )
    _MachineSpec: TypeAlias = (
        FreezeFault
        | CpuThrottleFault
        | MemoryLimitFault
        | ClockOffsetFault
        | WallClockFault
        | RebootFault
        | PowerOffFault
        | AgentKillFault
        | AgentHangFault
    )

_PROCESS_KINDS: Final = ("stop", "kill", "pause", "restart", "crash-loop", "lose-data")
_MACHINE_MEANS: Final = {
    "freeze": "by the freezer of cgroups",
    "cpu-throttle": "by a CPU quota of its cgroup",
    "memory-limit": "by a memory limit of its cgroup",
    "clock-offset": "by a restart in a time namespace",
    "wall-clock": "by setting the clock, which the inventory says is this host's own",
    "reboot": "by systemd",
    "power-off": "by systemd",
    "agent-kill": "by SIGKILL; systemd starts it again",
    "agent-hang": "by SIGSTOP for a time",
}
_CUTTING_KINDS: Final = ("isolate", "partition")
_PORT_KINDS: Final = ("client-port", "peer-port")
_FAILPOINT_KIND: Final = "failpoint"
_QUALITY_KIND: Final = "network"

_DISK_KINDS: Final = ("slow-fsync", "slow-io", "io-error", "power-loss", "disk-full")
_THROTTLE_KIND: Final = "disk-throttle"

_CUTTING_PROBE: Final = ("tcp dport 1 drop", "ip saddr 192.0.2.1 tcp dport 1 drop")
_PORT_PROBE: Final = ("tcp dport 1 reject with tcp reset", "tcp sport 1 tcp flags & rst == 0 drop")
_CORRUPT_KIND: Final = "corrupt-file"
_LAYER: Final = "by a FUSE layer under the data of a cluster with disk: fuse"
_RESOURCES: Final = {
    "isolate": Resource.PEER_TRAFFIC,
    "partition": Resource.PEER_TRAFFIC,
    "peer-port": Resource.PEER_TRAFFIC,
    "client-port": Resource.CLIENT_TRAFFIC,
    "network": Resource.TRAFFIC_QUALITY,
    "cpu-throttle": Resource.CPU,
    "memory-limit": Resource.MEMORY,
    "wall-clock": Resource.WALL_CLOCK,
    "reboot": Resource.HOST,
    "power-off": Resource.HOST,
    "agent-kill": Resource.AGENT,
    "agent-hang": Resource.AGENT,
    "slow-fsync": Resource.DISK_SPEED,
    "slow-io": Resource.DISK_SPEED,
    "disk-throttle": Resource.DISK_SPEED,
    "io-error": Resource.DISK_ERRORS,
    "disk-full": Resource.DISK_ROOM,
}
"""By kind; all others take hold of the process."""
_NOT_ALLOWED: Final = "etcd_chaos_allow is false for it in the inventory"
_TABLE: Final = "by an nftables table of its own"


def plan_fault(fault_id: str, spec: FaultSpec, host: HostContext) -> FaultSteps:
    """The steps of a fault; pure.

    Raises:
        IllegalStateError: the member is in no state for it.
        RefusedError: it would hit what is protected.
    """
    match spec:
        case StopFault() | KillFault() | PauseFault() | RestartFault() | CrashLoopFault() | LoseDataFault():
            return _plan_on_process(fault_id, spec, host)
        case IsolateFault():
            return plan_isolate(fault_id, spec, host)
        case PartitionFault():
            return plan_partition(fault_id, spec, host)
        case ClientPortFault() | PeerPortFault():
            return plan_port(fault_id, spec, host)
        case FailpointFault():
            return plan_failpoint(fault_id, spec, host)
        case NetworkFault():
            return plan_network(fault_id, spec, host)
        case (
            SlowFsyncFault()
            | SlowIoFault()
            | DiskThrottleFault()
            | IoErrorFault()
            | DiskFullFault()
            | PowerLossFault()
            | CorruptFileFault()
        ):
            return plan_disk(fault_id, spec, host)
        case _:
            return _plan_on_machine(fault_id, spec, host)


def _plan_on_process(fault_id: str, spec: _ProcessSpec, host: HostContext) -> FaultSteps:
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
        case LoseDataFault():
            return plan_lose_data(fault_id, spec, host)
    assert_never(spec)


def _plan_on_machine(fault_id: str, spec: _MachineSpec, host: HostContext) -> FaultSteps:
    match spec:
        case FreezeFault():
            return plan_freeze(fault_id, spec, host)
        case CpuThrottleFault():
            return plan_cpu(fault_id, spec, host)
        case MemoryLimitFault():
            return plan_memory(fault_id, spec, host)
        case ClockOffsetFault():
            return plan_clock_offset(fault_id, spec, host)
        case WallClockFault():
            return plan_wall_clock(fault_id, spec, host)
        case RebootFault() | PowerOffFault():
            return plan_down(fault_id, spec, host)
        case AgentKillFault():
            return plan_agent_kill(fault_id, spec, host)
        case AgentHangFault():
            return plan_agent_hang(fault_id, spec, host)
    assert_never(spec)


def resource_of(spec: FaultSpec) -> Resource:
    """What a fault of this kind occupies."""
    return _RESOURCES.get(spec.kind, Resource.PROCESS)


async def capabilities(settings: AgentSettings) -> tuple[Capability, ...]:
    """What this host can do now, one entry a kind."""
    stop = read_stop(settings.state_dir)
    barred = describe(stop) if stop.engaged else None
    if not settings.allow_faults:
        barred = _NOT_ALLOWED
    if barred is not None:
        kinds = (
            *_PROCESS_KINDS,
            *_MACHINE_MEANS,
            *_CUTTING_KINDS,
            *_PORT_KINDS,
            _QUALITY_KIND,
            *_DISK_KINDS,
            _THROTTLE_KIND,
            _CORRUPT_KIND,
            _FAILPOINT_KIND,
        )
        return tuple(_capability(kind, barred, "") for kind in kinds)
    process_lack = _process_lack(settings)
    cutting_lack = _network_lack() or await _kernel_lack(_CUTTING_PROBE)
    failpoint_lack = process_lack or await asyncio.to_thread(_failpoint_lack, settings)
    port_lack = cutting_lack or await _kernel_lack(_PORT_PROBE)
    can = (
        *(_capability(kind, process_lack, "by signals to etcd") for kind in _PROCESS_KINDS),
        *(_capability(kind, _machine_lack(kind, settings), means) for kind, means in _MACHINE_MEANS.items()),
        *(_capability(kind, cutting_lack, _TABLE) for kind in _CUTTING_KINDS),
        *(_capability(kind, port_lack, _TABLE) for kind in _PORT_KINDS),
        _quality(await find_means(settings.state_dir), _network_lack()),
        *(_capability(kind, process_lack or layer_lack(settings), _LAYER) for kind in _DISK_KINDS),
        _throttle(process_lack, layer_lack(settings), machine.limit_lack(settings, "io")),
        _capability(_CORRUPT_KIND, process_lack, "in files of a member that was killed before"),
        _capability(_FAILPOINT_KIND, failpoint_lack, "by gofail's HTTP on the loopback"),
    )
    return tuple(enabled(one, settings) for one in can)


async def require_capability(spec: FaultSpec, settings: AgentSettings) -> None:
    """Raise ``UnavailableError`` with the reason when this host cannot do such a fault.

    ``RefusedError`` where the inventory forbids all of them, or has not enabled this one.

    The kernel is not asked first whether it takes the rules: it takes all of them or none, and says why.
    """
    if not settings.allow_faults:
        raise RefusedError(
            f"nothing is injected on this host: {_NOT_ALLOWED}",
            remedy="set etcd_chaos_allow: true where breaking things is fine, and deploy",
        )
    require_group(spec.kind, settings)
    if spec.kind in _MACHINE_MEANS:
        lack = _machine_lack(spec.kind, settings)
    else:
        lack = _network_lack() if resource_of(spec).is_traffic else _process_lack(settings)
    if lack is None and spec.kind in _DISK_KINDS:
        lack = layer_lack(settings)
    if lack is not None:
        raise UnavailableError(f"this host cannot do {spec.kind}: {lack}")


def _capability(kind: str, lack: str | None, means: str) -> Capability:
    return Capability(kind=kind, available=lack is None, reason=means if lack is None else lack)


def _machine_lack(kind: str, settings: AgentSettings) -> str | None:
    match kind:
        case "freeze":
            return machine.freeze_lack()
        case "cpu-throttle":
            return machine.limit_lack(settings, "cpu")
        case "memory-limit":
            return machine.limit_lack(settings, "memory")
        case "clock-offset":
            return _process_lack(settings) or machine.clock_lack(settings)
        case "wall-clock":
            return machine.wall_clock_lack(settings)
        case "agent-kill" | "agent-hang":
            return machine.agent_lack()
        case _:
            return machine.host_lack()


def _throttle(lack: str | None, layer: str | None, cgroup: str | None) -> Capability:
    """By either of its means."""
    ways = ((_LAYER, layer), ("by the I/O limits of its cgroup", cgroup))
    said = "; ".join(way if reason is None else f"not {way} ({reason})" for way, reason in ways)
    able = lack is None and (layer is None or cgroup is None)
    return Capability(kind=_THROTTLE_KIND, available=able, reason=lack or said)


def _quality(means: NetworkMeans, lack: str | None) -> Capability:
    """What can be done to what comes in and to what goes out, and why not."""
    ways = (
        ("in: everything, by a packet queue", means.queue_lack),
        ("in: duplicates", means.duplicate_lack or means.queue_lack),
        ("out: everything, by netem", means.netem_lack or means.rate_lack),
        ("out: a rate, by htb", means.rate_lack),
    )
    able = any(reason is None for _, reason in ways)
    said = "; ".join(way if reason is None else f"not {way} ({reason})" for way, reason in ways)
    return Capability(kind=_QUALITY_KIND, available=lack is None and able, reason=lack or said)


def _process_lack(settings: AgentSettings) -> str | None:
    if settings.supervisor == "systemd":
        if not Path("/run/systemd/system").is_dir():
            return "systemd does not run here; set supervisor to process"
        if find_tool("systemd-run") is None:
            return "there is no systemd-run"
    if _signals_other_users(settings) and not has_capability(LinuxCapability.KILL):
        return f"the agent may not signal processes of {settings.member_user}: it lacks CAP_KILL"
    return None


def _failpoint_lack(settings: AgentSettings) -> str | None:
    versions = installed_versions(settings.etcd_root)
    if any(has_failpoints(etcd_binary(settings.etcd_root, version)) for version in versions):
        return None
    return (
        "no installed etcd has failpoints; build one with gofail (make gofail-etcd) and add it to etcd_builds"
    )


def _signals_other_users(settings: AgentSettings) -> bool:
    if settings.member_user is None:
        return False
    try:
        return pwd.getpwnam(settings.member_user).pw_uid != os.geteuid()
    except KeyError:
        return True


def _network_lack() -> str | None:
    if find_tool(NFT) is None:
        return "there is no nft; install nftables"
    return None if has_capability(LinuxCapability.NET_ADMIN) else "the agent lacks CAP_NET_ADMIN"


async def _kernel_lack(rules: tuple[str, ...]) -> str | None:
    """Why the kernel would not take such rules; it checks them, and nothing is loaded."""
    chain = "\n".join(("type filter hook input priority -300; policy accept;", *rules))
    table = f"table inet etcd_chaos_probe {{\nchain input {{\n{chain}\n}}\n}}\n"
    probe = await nft.run((NFT, "--check", "-f", "-"), stdin=table)
    return f"the kernel refuses nftables rules: {probe.complaint}" if probe.code != 0 else None
