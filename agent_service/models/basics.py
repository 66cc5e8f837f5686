"""The wire's types, bounded, and the base of every body."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
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
_WHOLE_PERCENT = re.compile(r"(?<![0-9.])([0-9]{1,3})%")


def _with_fraction(term: str) -> str:
    """Gofail takes a whole number for a count, and refuses it before a percent sign."""
    return _WHOLE_PERCENT.sub(r"\1.0%", term)


FailpointTerm = Annotated[
    str,
    StringConstraints(pattern=rf"^{_TERM}(->{_TERM}){{0,7}}$", max_length=256),
    AfterValidator(_with_fraction),
]
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


UNREACHED: Final = "urn:etcd-chaos:failpoint-unreached"
"""Type of the problem that a failpoint was set, and nothing came by it in time."""


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
