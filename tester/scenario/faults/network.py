"""Faults that cut a member's traffic."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from agent_service.models import ClientPortFault, IsolateFault, PartitionFault, Peer, PeerPortFault
from tester.scenario.faults.base import FaultSection, Occupied
from tester.scenario.target import Target

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent_service.models import FaultSpec
    from tester.scenario.faults.base import Place


class PartitionPreset(StrEnum):
    """Who drops whom. Resolved as targets are."""

    LEADER_ALONE = "leader-alone"
    """The leader sees nobody, the others see each other."""
    MINORITY_MAJORITY = "minority-majority"
    """The most members that leave a quorum, drawn with the seed, against the rest."""
    BRIDGE = "bridge"
    """Two halves that do not see each other, and one member that sees both, drawn with the seed."""
    MAJORITIES_RING = "majorities-ring"
    """Every member sees a majority, and no two see the same; the order is drawn with the seed."""
    LEADER_TO_FOLLOWERS = "leader-to-followers"
    """One way: nothing that the leader sends arrives."""
    TO_LEADER = "to-leader"
    """One way: nothing arrives at the leader."""


class PortAction(StrEnum):
    """How traffic is blocked."""

    DROP = "drop"
    """Silence."""
    REJECT = "reject"
    """A TCP reset, as if nobody listened."""


class Direction(StrEnum):
    """Which way packets are dropped, seen from the member that drops them."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class _BlockingSection(FaultSection):
    action: PortAction = Field(default=PortAction.DROP, description="Silence, or a TCP reset.")


class IsolateSection(_BlockingSection):
    """Nobody sees the member, and it sees nobody."""

    fault: Literal["isolate"] = "isolate"
    occupies: ClassVar = Occupied.PEER_TRAFFIC
    on_agent: ClassVar = "isolate"

    def spec(self, place: Place) -> FaultSpec:
        """All of its peer traffic."""
        return IsolateFault(
            peer_port=place.host.peer_port, peers=_peers(place, place.others), action=self.action.value
        )


class PartitionSection(_BlockingSection):
    """Some members do not see some others."""

    fault: Literal["partition"] = "partition"
    occupies: ClassVar = Occupied.PEER_TRAFFIC
    on_agent: ClassVar = "partition"

    partition: PartitionPreset | None = Field(default=None, description="Who drops whom, by a known name.")
    drops: dict[Target, Target] | None = Field(
        default=None,
        min_length=1,
        max_length=15,
        description="Who drops whom, said in full: a target drops what comes from and goes to another.",
    )
    direction: Direction = Field(default=Direction.BOTH, description="drops: which way, seen from who drops.")

    def spec(self, place: Place) -> FaultSpec:
        """What this host drops."""
        if place.cut is None:
            raise ValueError(f"nothing is cut at {place.host.name}")
        return PartitionFault(
            peer_port=place.host.peer_port,
            peers=_peers(place, place.cut.peers),
            direction=place.cut.direction,
            action=self.action.value,
        )


class ClientPortSection(_BlockingSection):
    """Clients do not reach the member."""

    fault: Literal["client-port"] = "client-port"
    occupies: ClassVar = Occupied.CLIENT_TRAFFIC
    on_agent: ClassVar = "client-port"

    def spec(self, place: Place) -> FaultSpec:
        """Its client port."""
        return ClientPortFault(port=place.host.client_port, action=self.action.value)


class PeerPortSection(_BlockingSection):
    """Peers do not reach the member's port, while it reaches theirs."""

    fault: Literal["peer-port"] = "peer-port"
    occupies: ClassVar = Occupied.PEER_TRAFFIC
    on_agent: ClassVar = "peer-port"

    def spec(self, place: Place) -> FaultSpec:
        """Its peer port."""
        return PeerPortFault(port=place.host.peer_port, action=self.action.value)


def _peers(place: Place, names: Collection[str]) -> tuple[Peer, ...]:
    return tuple(
        Peer(address=member.address, port=member.peer_port)
        for member in place.members
        if member.name in names
    )
