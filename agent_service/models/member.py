"""The wire: the member."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    field_serializer,
)

from agent_service.models.basics import (
    AbsolutePath,
    EndpointUrl,
    EnvName,
    FlagName,
    GraceSeconds,
    HostName,
    Name,
    Value,
    Version,
    Wire,
)


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
