"""Where a member answers its clients."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Access:
    """What a member asks of its clients. Certificates and key are PEM."""

    ca: bytes | None = None
    """Who vouches for the member; ``None``: no TLS."""
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str = ""
    """Whom the member's certificate must name; empty: its address."""
    token: str | None = None
    """etcd's auth token, sent with every request."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call over gRPC."""
        return (("token", self.token),) if self.token else ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The client endpoint of one member. ``address`` is an IP address: no fault depends on a resolver."""

    member: str
    address: str
    port: int
    access: Access | None = None
    """``None``: plain text, and nobody is asked who they are."""

    @property
    def authority(self) -> str:
        """``ADDRESS:PORT``, with brackets around an IPv6 address."""
        if ip_address(self.address).version == 6:
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"
