"""The wire: every body that crosses between the tester and an agent.

Units are in the names: ``*_seconds`` are float seconds, ``*_ns`` integer nanoseconds, ``*_bytes`` bytes.
``monotonic_ns`` is the host's CLOCK_MONOTONIC and only comparable within one ``boot_id``.
Every model refuses unknown fields, and every number and string has a bound.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_serializer,
    model_validator,
)

MAX_LEASE_SECONDS = 3600.0

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A fault's id, a label or a token: lower-case letters, digits and inner dashes, at most 63."""

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
"""An inventory's name of a host, which is its member's name: ``node1``, ``db-1.example.org``."""

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z._+~-]{0,63}$")]
LeaseSeconds = Annotated[float, Field(strict=True, ge=1.0, le=MAX_LEASE_SECONDS)]
GraceSeconds = Annotated[float, Field(strict=True, ge=0.0, le=300.0)]
IntervalSeconds = Annotated[float, Field(strict=True, ge=0.5, le=300.0)]
FlagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Value = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=4096)]
FailpointName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")]
_TERM = r"([0-9]{1,3}(\.[0-9]{1,3})?%)?([0-9]{1,6}\*)?(off|panic|sleep|return)(\([A-Za-z0-9 ._\"-]{0,64}\))?"
FailpointTerm = Annotated[str, StringConstraints(pattern=rf"^{_TERM}(->{_TERM}){{0,7}}$", max_length=256)]
"""What a failpoint does, in gofail's words: ``sleep(100)`` (ms), ``panic``, ``5%3*sleep(10)->panic("x")``."""
DelaySeconds = Annotated[float, Field(strict=True, ge=0.0, le=60.0)]
BitsPerSecond = Annotated[int, Field(strict=True, ge=8_000, le=100_000_000_000)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]*$", max_length=1024)]


def _share(share: float) -> float:
    if 0.0 < share < 0.0001:
        raise ValueError("a share below 0.0001 (one packet in ten thousand) is not told from none")
    return share


Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0), AfterValidator(_share)]
"""Of packets: 0.1 is every tenth."""

_ENDPOINT = re.compile(r"https?://(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})/?", re.ASCII)


def _address(address: str) -> str:
    parsed = ip_address(address)  # a name would make faults depend on a resolver
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            raise ValueError("an address must not name an interface (%): anything may follow that sign")
        if parsed.ipv4_mapped is not None:
            raise ValueError(f"write {parsed.ipv4_mapped}: packets carry the IPv4 address")
    return str(parsed)


Address = Annotated[str, StringConstraints(max_length=64), AfterValidator(_address)]
"""An IPv4 or IPv6 address in its shortest form, and nothing else: it becomes part of firewall rules."""


def _endpoint_url(url: str) -> str:
    parts = _ENDPOINT.fullmatch(url)
    if parts is None or not 1 <= int(parts[3]) <= 65535:
        raise ValueError("an etcd URL is http(s)://ADDRESS:PORT and nothing more, the address being numeric")
    if (parts[1] is None) is not (ip_address(_address(parts[1] or parts[2])).version == 4):
        raise ValueError("brackets belong around an IPv6 address, and around nothing else")
    return url


EndpointUrl = Annotated[str, StringConstraints(max_length=128), AfterValidator(_endpoint_url)]


class Wire(BaseModel):
    """Base of all bodies: immutable, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Problem(Wire):
    """An error body, ``application/problem+json`` (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    remedy: str | None = None
    """What a person can do next."""
    state: str | None = None
    """The state that made the request illegal, for 409."""


# --- host -----------------------------------------------------------------------------------------------------


class Capability(Wire):
    """Whether this host can do a kind of fault now."""

    kind: str
    available: bool
    reason: str
    """Why not, or what will be used; never empty."""


class HostClock(Wire):
    """One reading of the host's clocks, taken together."""

    boot_id: str
    monotonic_ns: int
    realtime_ns: int


class HostInfo(Wire):
    """What a host is and what it can do."""

    agent_version: str
    api_version: int
    hostname: str
    os_release: str
    kernel: str
    python: str
    cpus: int
    memory_bytes: int
    supervisor: Literal["systemd", "process"]
    etcd_versions: tuple[str, ...]
    """Installed versions that can be started, oldest first."""
    capabilities: tuple[Capability, ...]
    clock: HostClock


class ProcessUsage(Wire):
    """psutil figures of one process. ``cpu_seconds`` is user plus system time since its start."""

    pid: int
    cpu_seconds: float
    rss_bytes: int
    open_files: int
    threads: int
    read_bytes: int
    written_bytes: int


class Usage(Wire):
    """psutil figures of host, agent and member (``None`` when no member runs)."""

    cpu_percent: float
    load_1m: float
    memory_used_bytes: int
    memory_total_bytes: int
    disk_used_bytes: int
    disk_free_bytes: int
    """Of the file system that holds the member's data."""
    agent: ProcessUsage
    member: ProcessUsage | None


# --- member ---------------------------------------------------------------------------------------------------


class MemberState(StrEnum):
    """States of the one member of a host. Transitions are drawn in ``agent_service.member``."""

    UNINITIALIZED = "uninitialized"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Ended because somebody asked for it."""
    EXITED = "exited"
    """Ended although nobody asked for it."""
    TERMINATED = "terminated"
    """Stopped and its data removed."""


class MemberSpec(Wire):
    """How to start a member. The agent refuses flags and variables that are not on its allow-list.

    ``data_dir`` defaults to a directory of the agent's own; another one must lie under the agent's configured
    roots and be absent, empty or marked as the agent's.
    """

    name: HostName
    version: Version
    client_url: EndpointUrl
    peer_url: EndpointUrl
    initial_cluster: dict[HostName, EndpointUrl] = Field(min_length=1, max_length=15)
    initial_cluster_state: Literal["new", "existing"] = "new"
    initial_cluster_token: Name
    data_dir: AbsolutePath | None = None
    disk: Literal["bare", "fuse"] = "bare"
    """``fuse``: the agent mounts a layer of its own over the data, which can be slow, full or broken."""
    flags: dict[FlagName, Value] = Field(default_factory=dict, max_length=64)
    env: dict[EnvName, Value] = Field(default_factory=dict, max_length=32)
    tls: Literal["off", "auto", "own"] = "off"
    """For clients and peers. ``auto``: etcd signs a certificate itself, which proves nothing; ``own``: as
    ``MemberTls`` was put."""
    client_cert_auth: bool = Field(default=False, strict=True)
    """Whether clients need a certificate of the CA, too; with ``own`` alone. Peers always do then."""


Pem = Annotated[
    str, StringConstraints(pattern=r"^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n -]*$", max_length=16384)
]


class MemberTls(Wire):
    """Certificate and key of the member, and the CA that vouches for all of them. Kept until it is terminated."""

    ca: Pem
    certificate: Pem
    key: SecretStr = Field(max_length=4096)
    """PKCS#8 PEM. No answer, log or record holds it."""

    @field_serializer("key", when_used="json")
    def _to_the_wire(self, key: SecretStr) -> str:
        return key.get_secret_value()


class ExitRecord(Wire):
    """One end of a member process."""

    pid: int
    code: int | None
    """Exit status, ``None`` when a signal ended it or nobody could know."""
    signal: int | None
    expected: bool
    """True when a request or a fault of this agent asked for it."""
    cause: str
    """Who asked (``stop``, ``fault NAME``...), or ``unexpected``."""
    disk_layer_died: bool = False
    """True when the layer under its data was gone: then this end is the tool's doing and not etcd's."""
    monotonic_ns: int
    realtime_ns: int
    log_tail: tuple[str, ...] = Field(max_length=100)


class DiskLayerStatus(Wire):
    """The layer under the member's data."""

    mount: str
    """Where the member sees its data."""
    alive: bool
    """False: its process is gone, and what the member does since is no behaviour of etcd."""


class MemberStatus(Wire):
    """The member as it is now."""

    state: MemberState
    spec: MemberSpec | None
    pid: int | None
    started_monotonic_ns: int | None
    data_dir: str | None
    data_bytes: int | None
    disk_layer: DiskLayerStatus | None = None
    """``None``: there is none, or no member that needs it."""
    exits: tuple[ExitRecord, ...]
    """Newest last, at most 100."""
    exits_total: int


class StopRequest(Wire):
    """SIGTERM, then SIGKILL after the grace."""

    grace_seconds: GraceSeconds = 10.0


class ArchiveRequest(Wire):
    """Move log and data of a stopped member aside under this label."""

    label: Name
    data: bool = Field(default=False, strict=True)
    """Move the data directory too; otherwise only the log is kept and the data stays."""


class ArchiveResult(Wire):
    """Where the archive lies on the host."""

    path: str
    size_bytes: int


class Failpoints(Wire):
    """The failpoints of the running member by their full names; an empty term: it is not set."""

    terms: dict[str, str]


class LogTail(Wire):
    """The last lines of the member's log."""

    lines: tuple[str, ...]
    total_bytes: int


# --- faults ---------------------------------------------------------------------------------------------------


class Peer(Wire):
    """A peer endpoint of another member, by address."""

    address: Address
    port: Port


class StopFault(Wire):
    """SIGTERM (SIGKILL after the grace); healed by starting the member again."""

    kind: Literal["stop"] = "stop"
    grace_seconds: GraceSeconds = 10.0


class KillFault(Wire):
    """SIGKILL, or SIGQUIT for a stack trace in the log; healed by starting the member again."""

    kind: Literal["kill"] = "kill"
    signal: Literal["SIGKILL", "SIGQUIT"] = "SIGKILL"


class PauseFault(Wire):
    """SIGSTOP; healed by SIGCONT."""

    kind: Literal["pause"] = "pause"


class RestartFault(Wire):
    """Stop and start at once; healed when the member runs."""

    kind: Literal["restart"] = "restart"
    grace_seconds: GraceSeconds = 10.0


class CrashLoopFault(Wire):
    """SIGKILL and start, again and again while it is held; healed when the member runs."""

    kind: Literal["crash-loop"] = "crash-loop"
    every_seconds: IntervalSeconds


class LoseDataFault(Wire):
    """SIGQUIT, and the data directory is gone, as after a replaced disk; healed by bringing it back.

    A member that was started with new data meanwhile, as a new member of the cluster, stays: its old data go.
    """

    kind: Literal["lose-data"] = "lose-data"


class FreezeFault(Wire):
    """Frozen by its cgroup: as a pause, but no signal is sent; healed by thawing."""

    kind: Literal["freeze"] = "freeze"


class CpuThrottleFault(Wire):
    """A part of one CPU for all threads of etcd together; healed by lifting the limit."""

    kind: Literal["cpu-throttle"] = "cpu-throttle"
    percent: Annotated[float, Field(strict=True, ge=1.0, le=100.0)]


class MemoryLimitFault(Wire):
    """At most so much memory, no swap; what needs more is ended by the kernel. Healed by lifting it and a start."""

    kind: Literal["memory-limit"] = "memory-limit"
    limit_bytes: Annotated[int, Field(strict=True, ge=1024**2, le=1024**4)]


class ClockOffsetFault(Wire):
    """A restart in a time namespace whose monotonic clock is off; healed by a restart without."""

    kind: Literal["clock-offset"] = "clock-offset"
    offset_seconds: Annotated[int, Field(strict=True, ge=-(10**8), le=10**8)]
    grace_seconds: GraceSeconds = 10.0


class WallClockFault(Wire):
    """The host's wall clock jumps; healed by setting it as it would be. Only where the clock is the host's own."""

    kind: Literal["wall-clock"] = "wall-clock"
    offset_seconds: Annotated[float, Field(strict=True, ge=-(10.0**8), le=10.0**8)]


class RebootFault(Wire):
    """The host reboots, in order or abruptly; its next boot starts the member as it was."""

    kind: Literal["reboot"] = "reboot"
    abrupt: bool = Field(default=False, strict=True)
    """Nobody is asked to end, and nothing is unmounted."""


class PowerOffFault(Wire):
    """The host goes off, in order or abruptly; whoever switches it on again heals it."""

    kind: Literal["power-off"] = "power-off"
    abrupt: bool = Field(default=False, strict=True)


class AgentKillFault(Wire):
    """SIGKILL to the agent itself; over when its systemd has started it again."""

    kind: Literal["agent-kill"] = "agent-kill"


class AgentHangFault(Wire):
    """SIGSTOP to the agent itself for a time."""

    kind: Literal["agent-hang"] = "agent-hang"
    seconds: Annotated[float, Field(strict=True, ge=1.0, le=300.0)]


class IsolateFault(Wire):
    """Drop all peer traffic of the member, both ways; healed by deleting the fault's own nftables table."""

    kind: Literal["isolate"] = "isolate"
    peer_port: Port
    """The member's own peer port."""
    peers: tuple[Peer, ...] = Field(min_length=1, max_length=15)
    action: Literal["drop", "reject"] = "drop"
    """Silence, or a TCP reset to whoever sends."""


class PartitionFault(Wire):
    """Drop peer traffic with some peers; healed by deleting the fault's own nftables table.

    A link is found by the peer's address: a peer that talks from another one is not cut off by it.
    """

    kind: Literal["partition"] = "partition"
    peer_port: Port
    """The member's own peer port."""
    peers: tuple[Peer, ...] = Field(min_length=1, max_length=15)
    direction: Literal["in", "out", "both"]
    """What is blocked: what they send to this host, what it sends to them, or both."""
    action: Literal["drop", "reject"] = "drop"
    """Silence, or a TCP reset to whoever sends."""


class ClientPortFault(Wire):
    """Block the member's client port; healed by deleting the fault's own nftables table."""

    kind: Literal["client-port"] = "client-port"
    port: Port
    action: Literal["drop", "reject"]
    """Silence, or a TCP reset as if nobody listened."""


class PeerPortFault(Wire):
    """Block the member's peer port; connections it has opened itself go on. Healed as ``client-port``."""

    kind: Literal["peer-port"] = "peer-port"
    port: Port
    action: Literal["drop", "reject"]


class FailpointFault(Wire):
    """Set failpoints inside a member that was built with gofail; healed by taking them away.

    Where a term panics, the member must end by it at once; it is started again when the fault is healed.
    """

    kind: Literal["failpoint"] = "failpoint"
    terms: dict[FailpointName, FailpointTerm] = Field(min_length=1, max_length=16)
    """What each failpoint does, by its name or the last part of it."""

    @property
    def panics(self) -> bool:
        """Whether one of them is to end the member."""
        return any("panic" in term for term in self.terms.values())


class NetworkFault(Wire):
    """Make the member's traffic bad; healed by taking the fault's own rules, queue and process away.

    ``peer_port`` asks for traffic with ``peers``, ``client_port`` for traffic with clients.
    """

    kind: Literal["network"] = "network"
    peer_port: Port | None = None
    """The member's own peer port."""
    peers: tuple[Peer, ...] = Field(default=(), max_length=15)
    client_port: Port | None = None
    """The member's own client port."""
    direction: Literal["in", "out", "both", "any"] = "any"
    """What this host receives, what it sends, both, or whichever of the two it can do."""
    delay_seconds: DelaySeconds = 0.0
    jitter_seconds: DelaySeconds = 0.0
    distribution: Literal["uniform", "normal", "pareto"] = "uniform"
    """Of the delay: within ± jitter; with the jitter as standard deviation; with a long tail."""
    loss: Share = 0.0
    loss_correlation: Share = 0.0
    """How likely a packet shares the fate of the one before it."""
    duplicate: Share = 0.0
    corrupt: Share = 0.0
    reorder: Share = 0.0
    """Packets that go at once while all others are delayed."""
    rate_bits_per_second: BitsPerSecond | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.peer_port is None and self.client_port is None:
            raise ValueError("name peer_port, client_port or both")
        if (self.peer_port is None) is not (not self.peers):
            raise ValueError("peer_port and peers belong together")
        if not (
            self.delay_seconds or self.loss or self.duplicate or self.corrupt or self.rate_bits_per_second
        ):
            raise ValueError("ask for a delay, loss, duplicates, corruption or a rate")
        if not self.delay_seconds and (self.jitter_seconds or self.reorder):
            raise ValueError("jitter and reorder need a delay")
        if self.loss_correlation and not self.loss:
            raise ValueError("loss_correlation needs a loss")
        return self


IoDelaySeconds = Annotated[float, Field(strict=True, ge=0.001, le=5.0)]
IoJitterSeconds = Annotated[float, Field(strict=True, ge=0.0, le=5.0)]
DiskScope = Literal["wal", "db", "all"]
"""Files of the write-ahead log; those of the store, its snapshots among them; everything."""
DiskOperation = Literal["read", "write", "fsync"]


class SlowFsyncFault(Wire):
    """Syncs take longer; healed by the layer's doing without."""

    kind: Literal["slow-fsync"] = "slow-fsync"
    scope: DiskScope = "wal"
    delay_seconds: IoDelaySeconds
    jitter_seconds: IoJitterSeconds = 0.0
    distribution: Literal["uniform", "normal", "exponential"] = "uniform"
    """``jitter_seconds`` is half a width, a standard deviation, or a mean that is added."""


class SlowIoFault(Wire):
    """Reads, writes and syncs take longer; healed as ``slow-fsync``."""

    kind: Literal["slow-io"] = "slow-io"
    scope: DiskScope = "all"
    delay_seconds: IoDelaySeconds
    jitter_seconds: IoJitterSeconds = 0.0
    distribution: Literal["uniform", "normal", "exponential"] = "uniform"


class IoErrorFault(Wire):
    """Operations fail with EIO; healed by the layer's doing without, and by starting the member if it ended."""

    kind: Literal["io-error"] = "io-error"
    scope: DiskScope = "wal"
    operations: tuple[DiskOperation, ...] = Field(default=("fsync",), min_length=1, max_length=3)


class PowerLossFault(Wire):
    """The member is killed, and what it had not synced is gone; healed by starting it."""

    kind: Literal["power-loss"] = "power-loss"


class CorruptFileFault(Wire):
    """The member is killed and a file of it damaged; healed by a start, with the bytes put back if that fails."""

    kind: Literal["corrupt-file"] = "corrupt-file"
    file: Literal["wal", "db"]
    """The newest file of the log, or the store."""
    damage: Literal["bit-flip", "truncate"]
    seed: Annotated[int, Field(strict=True, ge=0, lt=1 << 63)] = 0
    """Where in the log a bit is flipped."""


class DiskFullFault(Wire):
    """The member's file system, and no other, is full; healed by making room, and starting it if it ended."""

    kind: Literal["disk-full"] = "disk-full"
    room_bytes: Annotated[int, Field(strict=True, ge=0, le=1 << 40)] = 0
    """How much may still be written."""


class DiskThrottleFault(Wire):
    """Reads and writes share so much a second; 0 is no limit, and one of the two is needed."""

    kind: Literal["disk-throttle"] = "disk-throttle"
    bytes_per_second: Annotated[int, Field(strict=True, ge=0, le=1 << 40)] = 0
    operations_per_second: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0

    @model_validator(mode="after")
    def _limits_something(self) -> DiskThrottleFault:
        if not self.bytes_per_second and not self.operations_per_second:
            raise ValueError("a throttle needs bytes_per_second, operations_per_second or both")
        return self


FaultSpec = Annotated[
    StopFault
    | KillFault
    | PauseFault
    | RestartFault
    | CrashLoopFault
    | LoseDataFault
    | FreezeFault
    | CpuThrottleFault
    | MemoryLimitFault
    | ClockOffsetFault
    | WallClockFault
    | RebootFault
    | PowerOffFault
    | AgentKillFault
    | AgentHangFault
    | IsolateFault
    | PartitionFault
    | ClientPortFault
    | PeerPortFault
    | NetworkFault
    | SlowFsyncFault
    | SlowIoFault
    | IoErrorFault
    | PowerLossFault
    | CorruptFileFault
    | DiskFullFault
    | DiskThrottleFault
    | FailpointFault,
    Field(discriminator="kind"),
]


class FaultRequest(Wire):
    """Inject a fault. The same id with the same spec again is the same fault (idempotent)."""

    id: Name
    spec: FaultSpec
    lease_seconds: LeaseSeconds
    """Without renewal the host heals itself after this long on its own monotonic clock."""
    reason: Value
    """For the audit log: run, round and case."""


class RenewRequest(Wire):
    """A new lease for an injected fault, counted from now."""

    lease_seconds: LeaseSeconds


class FaultState(StrEnum):
    """States of a fault, in order."""

    PREPARED = "prepared"
    """The undo is on disk; nothing has been done."""
    INJECTED = "injected"
    """Done, and its effect was verified."""
    HEALING = "healing"
    HEALED = "healed"
    """Undone, and its absence was verified."""
    FAILED = "failed"
    """Injection had no effect; the undo has run."""
    HEAL_FAILED = "heal_failed"
    """The undo failed; it is tried again, and ``evidence`` says why."""


class FaultStatus(Wire):
    """A fault as it is now."""

    id: str
    spec: FaultSpec
    state: FaultState
    reason: str
    undo: tuple[str, ...]
    """The undo steps as a person reads them, in the order in which they run."""
    evidence: str
    """What ``verify`` saw last."""
    injected_monotonic_ns: int | None
    healed_monotonic_ns: int | None
    lease_remaining_seconds: float
    healed_by: (
        Literal[
            "request",
            "somebody-else",
            "lease",
            "agent-start",
            "agent-stop",
            "heal-command",
            "failed-injection",
            "emergency-stop",
        ]
        | None
    )
    """``somebody-else``: when the request came, the effect was gone already, and the agent had not undone it."""


class FaultPlan(Wire):
    """What a fault would do here (``POST /v1/faults/plan``): nothing is touched."""

    inject: tuple[str, ...]
    undo: tuple[str, ...]


class EmergencyStopRequest(Wire):
    """Heal everything, and inject nothing any more."""

    reason: Value
    """For whoever meets the stop later."""


class EmergencyStop(Wire):
    """Whether new faults are refused on this host until somebody clears the stop."""

    engaged: bool
    who: str = ""
    reason: str = ""
    since_realtime_ns: int | None = None
    faults: tuple[FaultStatus, ...] = ()
    """In the answer that engages it: every fault that had to be healed, as it is now."""


class AuditEntry(Wire):
    """One line of the host's append-only audit log."""

    realtime_ns: int
    who: str
    """Subject of the client certificate, or ``agent``."""
    what: str
    detail: dict[str, str]
    outcome: str
