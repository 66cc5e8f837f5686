"""Where a member answers its clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tester.etcd.credentials import ClientTls, Login


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The client endpoint of one member, and who asks it.

    ``address`` is an IP address: no fault depends on a resolver.
    """

    member: str
    address: str
    port: int
    tls: ClientTls | None = field(default=None, repr=False)
    login: Login | None = field(default=None, repr=False)
    ping_seconds: float = 1.0
    """How soon gRPC asks a silent member whether it is there. A member whose flags are not ours allows it every 5 s."""

    @property
    def authority(self) -> str:
        """``ADDRESS:PORT``, with brackets around an IPv6 address."""
        if ip_address(self.address).version == 6:
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"
