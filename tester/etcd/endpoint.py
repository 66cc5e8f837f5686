"""Where a member answers its clients."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The client endpoint of one member. ``address`` is an IP address: no fault depends on a resolver."""

    member: str
    address: str
    port: int

    @property
    def authority(self) -> str:
        """``ADDRESS:PORT``, with brackets around an IPv6 address."""
        if ip_address(self.address).version == 6:
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"
