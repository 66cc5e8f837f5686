"""What an operator decides about an agent: one JSON file, written by the ``etcd_agent`` role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_service.models import Address, HostName, Port

FaultGroup: TypeAlias = Literal["process", "network", "disk", "cgroup", "clock", "host"]

DEFAULT_PATH = Path("/etc/etcd-chaos/agent.json")


class SettingsError(Exception):
    """The settings file is missing, unreadable or wrong; the message names file and field."""


class TlsSettings(BaseModel):
    """Mutual TLS is not optional.

    ``allowed_clients`` and ``readers`` are subject common names: removing one revokes it. Readers may look at
    everything and change nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path
    certificate: Path
    key: Path
    allowed_clients: Annotated[tuple[str, ...], Field(min_length=1)]
    readers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        both = sorted({*self.allowed_clients} & {*self.readers})
        if both:
            raise ValueError(
                f"{', '.join(both)}: a client stands in allowed_clients or in readers, not in both"
            )
        return self


class AgentSettings(BaseModel):
    """Settings of one agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: HostName
    """The inventory's name of this host."""
    listen_address: Address
    port: Port = 9027
    allowed_hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    """Values accepted in the Host header, without port."""
    tls: TlsSettings
    supervisor: Literal["systemd", "process"] = "systemd"
    member_user: str | None = None
    """Unix user that runs etcd; ``None``: the agent's own."""
    etcd_root: Path = Path("/opt/etcd-chaos/etcd")
    """Holds ``VERSION/bin/etcd``, one directory per installed version."""
    state_dir: Path = Path("/var/lib/etcd-chaos")
    """Fault journal, member spec, exit history, audit log; created and marked by the agent."""
    data_roots: Annotated[tuple[Path, ...], Field(min_length=1)] = (Path("/var/lib/etcd-chaos/data"),)
    """A member's data lies under one of these; the first is the default."""
    log_dir: Path = Path("/var/log/etcd-chaos")
    archive_dir: Path = Path("/var/lib/etcd-chaos/archive")
    protected_ports: tuple[Port, ...] = (22,)
    """Never touched by a network fault; the agent's own port is always added."""
    allow_faults: bool = True
    """False: nothing is ever injected on this host, whoever asks. What was injected before is still healed."""
    requests_per_second: Annotated[int, Field(ge=20, le=100_000)] = 200
    """Of one client, sustained; twice as many at once. What heals is never refused."""
    faults: frozenset[FaultGroup] = frozenset(get_args(FaultGroup))
    """Groups of faults that are enabled (``agent_service.faults.groups``). Others are refused; what was injected
    before is still healed."""
    own_clock: bool = False
    """Whether nobody but this host lives by its wall clock, so that a fault may set it."""


def load_settings(path: Path = DEFAULT_PATH) -> AgentSettings:
    """Read and validate the settings.

    Raises:
        SettingsError: there is no such file, it is no JSON, or a field is wrong.
    """
    try:
        return AgentSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; run playbooks/deploy.yml against this host"
        ) from error
    except ValidationError as error:
        lines = (f"{path}: {'.'.join(map(str, e['loc'])) or '(file)'}: {e['msg']}" for e in error.errors())
        raise SettingsError("\n".join(lines)) from error
