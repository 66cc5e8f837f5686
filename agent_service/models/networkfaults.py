"""The wire: faults on the member's traffic."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from agent_service.models.basics import (
    Address,
    BitsPerSecond,
    DelaySeconds,
    Port,
    Share,
    Wire,
)


class Peer(Wire):
    """A peer endpoint of another member, by address."""

    address: Address
    port: Port


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
