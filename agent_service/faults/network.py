"""Faults on the member's traffic, each in an nftables table of its own.

Peers talk over connections that either side may have opened, so each link has two rules a direction: one for
the member's own port, one for the other's.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from agent_service.errors import RefusedError
from agent_service.faults.nftables import table_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_service.faults.base import HostContext
    from agent_service.faults.steps import FaultSteps
    from agent_service.models import ClientPortFault, IsolateFault, PartitionFault, Peer, PeerPortFault

# The resets pass the same rules, out to a peer and in to this host's own sockets, and have to arrive.
_VERDICTS: Final = {"drop": "drop", "reject": "tcp flags & rst == 0 reject with tcp reset"}


def plan_isolate(fault_id: str, spec: IsolateFault, host: HostContext) -> FaultSteps:
    """Block all peer traffic of the member, both ways, connections that stand included.

    Raises:
        RefusedError: a protected port would be hit, or ``peer_port`` is not the member's.
    """
    _check_peers(spec, host)
    verdict = _VERDICTS[spec.action]
    received = [
        f"tcp dport {spec.peer_port} {verdict}",
        *(f"{_from(peer)} tcp sport {peer.port} {verdict}" for peer in spec.peers),
    ]
    sent = [
        f"tcp sport {spec.peer_port} {verdict}",
        *(f"{_to(peer)} tcp dport {peer.port} {verdict}" for peer in spec.peers),
    ]
    return table_steps(fault_id, received, sent, host.protected_ports)


def plan_partition(fault_id: str, spec: PartitionFault, host: HostContext) -> FaultSteps:
    """Block peer traffic from some peers, to them, or both.

    Raises:
        RefusedError: a protected port would be hit, or ``peer_port`` is not the member's.
    """
    _check_peers(spec, host)
    verdict = _VERDICTS[spec.action]
    received = [rule for peer in spec.peers for rule in _received(peer, spec.peer_port, verdict)]
    sent = [rule for peer in spec.peers for rule in _sent(peer, spec.peer_port, verdict)]
    return table_steps(
        fault_id,
        received if spec.direction in {"in", "both"} else (),
        sent if spec.direction in {"out", "both"} else (),
        host.protected_ports,
    )


def _received(peer: Peer, own_port: int, verdict: str) -> Iterator[str]:
    yield f"{_from(peer)} tcp dport {own_port} {verdict}"
    yield f"{_from(peer)} tcp sport {peer.port} {verdict}"


def _sent(peer: Peer, own_port: int, verdict: str) -> Iterator[str]:
    yield f"{_to(peer)} tcp sport {own_port} {verdict}"
    yield f"{_to(peer)} tcp dport {peer.port} {verdict}"


def plan_port(fault_id: str, spec: ClientPortFault | PeerPortFault, host: HostContext) -> FaultSteps:
    """Block one port of the member: silently, or as if nobody listened there.

    Raises:
        RefusedError: the port is protected, or not the member's.
    """
    client = spec.kind == "client-port"
    check_own(spec.port, host.client_port if client else host.peer_port, "clients" if client else "peers")
    check_protected((spec.port,), host)
    if spec.action == "drop":
        received, sent = f"tcp dport {spec.port} drop", f"tcp sport {spec.port} drop"
    else:
        # The resets are sent from this port, too, and have to get out.
        received = f"tcp dport {spec.port} reject with tcp reset"
        sent = f"tcp sport {spec.port} tcp flags & rst == 0 drop"
    return table_steps(fault_id, (received,), (sent,), host.protected_ports)


def _from(peer: Peer) -> str:
    return f"{_family(peer)} saddr {peer.address}"


def _to(peer: Peer) -> str:
    return f"{_family(peer)} daddr {peer.address}"


def _family(peer: Peer) -> str:
    return "ip6" if ip_address(peer.address).version == 6 else "ip"


def _check_peers(spec: IsolateFault | PartitionFault, host: HostContext) -> None:
    check_protected((spec.peer_port, *(peer.port for peer in spec.peers)), host)
    check_own(spec.peer_port, host.peer_port, "peers")


def check_protected(ports: Iterable[int], host: HostContext) -> None:
    """See that no fault touches these; raises ``RefusedError``."""
    for port in ports:
        if port in host.protected_ports:
            raise RefusedError(
                f"port {port} is protected on this host and never blocked",
                remedy="give etcd another port, or take this one off protected_ports",
            )


def check_own(port: int, known: int | None, whom: str) -> None:
    """See that this is the member's port, where that is known; raises ``RefusedError``."""
    if known is not None and known != port:
        raise RefusedError(
            f"the member listens to its {whom} on port {known}, not {port}",
            remedy=f"name the port on which it serves its {whom}",
        )
