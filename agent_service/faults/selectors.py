"""Which packets a fault of the network's quality is about: a member's links, as addresses and ports.

Peers talk over connections that either side may have opened, so each link is two selectors a direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from agent_service.models import NetworkFault

Family: TypeAlias = Literal["ip", "ip6"]


@dataclass(frozen=True, slots=True)
class Selector:
    """TCP packets of one family to or from the other end: its address (``None``: anyone's) and one port."""

    family: Family
    address: str | None
    own_port: int | None = None
    other_port: int | None = None


def selectors(spec: NetworkFault, families: tuple[Family, ...]) -> tuple[Selector, ...]:
    """Every selector; clients may come by any of the host's families."""
    found = []
    for peer in spec.peers:
        family: Family = "ip6" if ip_address(peer.address).version == 6 else "ip"
        found += [
            Selector(family, peer.address, own_port=spec.peer_port),
            Selector(family, peer.address, other_port=peer.port),
        ]
    if spec.client_port is not None:
        found += [Selector(family, None, own_port=spec.client_port) for family in families]
    return tuple(found)
