"""The wire: load that a host puts on a cluster of other hosts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, SecretStr, StringConstraints, field_serializer

from agent_service.models.basics import Address, HostName, LeaseSeconds, Name, Port, Wire
from agent_service.models.member import Pem

MAX_CHUNK_BYTES = 1 << 20
"""Of a history, in one answer."""

_Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
_Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_-]{1,128}$")]
_Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
_Text = Annotated[str, StringConstraints(max_length=128)]
_Setting = _Text | bool | int | FiniteFloat | None | dict[_Key, FiniteFloat]
"""Of a stresser; durations in seconds, sizes in bytes."""
_Line = Annotated[str, StringConstraints(max_length=1 << 18)]


class LoadEndpoint(Wire):
    """Where a member answers its clients."""

    member: HostName
    address: Address
    port: Port


class LoadTls(Wire):
    """TLS towards the members. Without a ``ca`` whoever answers is believed, as ``auto`` certificates need."""

    ca: Pem | None = None
    certificate: Pem | None = None
    key: SecretStr | None = Field(default=None, max_length=4096)

    @field_serializer("key", when_used="json")
    def _to_the_wire(self, key: SecretStr | None) -> str | None:
        return None if key is None else key.get_secret_value()


class LoadLogin(Wire):
    """A user of etcd."""

    user: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
    password: SecretStr = Field(max_length=256)

    @field_serializer("password", when_used="json")
    def _to_the_wire(self, password: SecretStr) -> str:
        return password.get_secret_value()


class LoadOrder(Wire):
    """What a worker does: its share of some stressers. It reaches the worker through a pipe, and no file.

    ``stressers`` are sections of a scenario. The agent knows no kinds of them: the worker checks each field, as the
    tester did.
    """

    stressers: tuple[dict[_Key, _Setting], ...] = Field(min_length=1, max_length=16)
    endpoints: tuple[LoadEndpoint, ...] = Field(min_length=1, max_length=15)
    tls: LoadTls | None = None
    login: LoadLogin | None = None
    seed: _Seed
    prefix: _Prefix
    """Of every key."""
    number: int = Field(strict=True, ge=0, lt=256)
    """Which of the ``workers``, counted from 0."""
    workers: int = Field(strict=True, ge=1, le=256)
    transport: Literal["h2", "grpc"] = "h2"


class LoadRequest(Wire):
    """A worker to start. Nobody asks for its messages for ``lease_seconds``: it is ended."""

    order: LoadOrder
    lease_seconds: LeaseSeconds = 15.0


class LoadWorkerStatus(Wire):
    """A worker as it is now."""

    id: Name
    running: bool
    pid: int | None
    end: str
    """How it ended, and why; empty while it runs."""
    history_bytes: int


class LoadMessages(Wire):
    """What a worker has said, one line each, from number ``first`` on; and what is asked for next, ``next``."""

    first: int
    next: int
    lines: tuple[_Line, ...]
    status: LoadWorkerStatus
