"""What a planner knows about the host, and what one fault keeps another from touching."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agent_service.errors import IllegalStateError
from agent_service.faults.machine import Machine
from agent_service.models import MemberState

if TYPE_CHECKING:
    from agent_service.faults.iptables import Iptables
    from agent_service.faults.selectors import Family
    from agent_service.faults.shaping import Device
    from agent_service.processes import ProcessId


REMOVED: Final = frozenset({MemberState.UNINITIALIZED, MemberState.TERMINATED})
"""States in which there is no member at all."""


class Resource(StrEnum):
    """What a fault occupies while it is active: two faults never share one."""

    PROCESS = "process"
    PEER_TRAFFIC = "peer-traffic"
    CLIENT_TRAFFIC = "client-traffic"
    CPU = "cpu"
    MEMORY = "memory"
    WALL_CLOCK = "wall-clock"
    AGENT = "agent"
    HOST = "host"
    TRAFFIC_QUALITY = "traffic-quality"
    """Of peers and clients alike; what is blocked never meets it, so both may be there."""
    DISK_SPEED = "disk-speed"
    DISK_ERRORS = "disk-errors"
    DISK_ROOM = "disk-room"

    @property
    def is_traffic(self) -> bool:
        """Whether it is something on the network."""
        return self in {Resource.PEER_TRAFFIC, Resource.CLIENT_TRAFFIC, Resource.TRAFFIC_QUALITY}


@dataclass(frozen=True, slots=True)
class NetworkMeans:
    """How a host can make traffic bad. Each ``*_lack`` says why not; ``None``: it can."""

    directory: str
    """Where the packet queue's process has its file."""
    queue_lack: str | None
    """Packet queues (NFQUEUE), for what comes in."""
    duplicate_lack: str | None
    """Sending a packet twice, for what comes in."""
    netem_lack: str | None
    """For what goes out; nothing else can do more than a rate there."""
    rate_lack: str | None
    """htb, for what goes out, under netem, too."""
    iptables: Iptables
    families: tuple[Family, ...]
    """Of IP that clients may come by."""
    tables: frozenset[str] = frozenset()
    """Families for which nftables has a table ``mangle`` already."""
    devices: tuple[Device, ...] = ()
    """By which the selected traffic leaves."""


@dataclass(frozen=True, slots=True)
class HostContext:
    """The host as a planner sees it; the ports are the member's own, ``None`` before its first start."""

    member_state: MemberState
    process: ProcessId | None
    client_port: int | None
    peer_port: int | None
    protected_ports: tuple[int, ...]
    """Ports no fault may touch, the agent's own among them, sorted."""
    data_dir: str | None = None
    """Where the member's data lie, ``None`` before its first start."""
    machine: Machine = field(default_factory=Machine)
    failpoint_address: str | None = None
    """Where the member's failpoints are set, if it was started with such a place."""
    network: NetworkMeans | None = None
    """What was found for a fault of the network's quality; no other needs it."""
    data_disk: str | None = None
    """``MAJOR:MINOR`` of the disk that they lie on, if it has one."""
    disk_layer: bool = False
    """Whether a layer of the agent's is under the member's data."""

    def running_process(self) -> ProcessId:
        """The process of a running member; raises ``IllegalStateError`` in every other state."""
        if self.member_state is not MemberState.RUNNING or self.process is None:
            raise IllegalStateError(
                f"there is no running member to do this to: it is {self.member_state}",
                state=self.member_state,
                remedy="start it, or heal the fault that holds it",
            )
        return self.process

    def need_disk_layer(self) -> None:
        """Raise ``IllegalStateError`` unless there is a layer under the data of a member."""
        if not self.disk_layer:
            raise IllegalStateError(
                f"there is no disk layer under the member's data: it is {self.member_state}",
                state=self.member_state,
                remedy="start the cluster with disk: fuse",
            )
