"""A fault that makes a member's traffic bad without cutting it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from agent_service.models import HostName, NetworkFault, Peer
from tester.errors import FaultIneffectiveError
from tester.scenario.faults.base import FaultSection, Occupied
from tester.scenario.units import BitRate, Seconds, Share

if TYPE_CHECKING:
    from agent_service.models import FaultSpec
    from tester.scenario.faults.base import Place


class Traffic(StrEnum):
    """Whose traffic with the member."""

    PEER = "peer"
    CLIENT = "client"
    BOTH = "both"


class QualityDirection(StrEnum):
    """Which way, seen from the member."""

    ANY = "any"
    """Whichever its host can do: for a way and back it is the same."""
    IN = "in"
    OUT = "out"
    BOTH = "both"


class Distribution(StrEnum):
    """How delays lie around the one asked for."""

    UNIFORM = "uniform"
    NORMAL = "normal"
    PARETO = "pareto"


class QualityPreset(StrEnum):
    """Delays by name, as the etcd functional test suite has them."""

    SLOW = "slow"
    VERY_SLOW = "very-slow"
    RANDOM_DELAY = "random-delay"


@dataclass(frozen=True, slots=True)
class _Delay:
    """Seconds."""

    delay: float
    jitter: float
    distribution: Distribution


_PRESETS: Final = {
    QualityPreset.SLOW: _Delay(0.5, 0.05, Distribution.NORMAL),
    QualityPreset.VERY_SLOW: _Delay(5.0, 0.5, Distribution.NORMAL),
    QualityPreset.RANDOM_DELAY: _Delay(0.525, 0.475, Distribution.UNIFORM),
}


class NetworkSection(FaultSection):
    """Packets are late, lost, doubled, bent, disordered or slow."""

    fault: Literal["network"] = "network"
    occupies: ClassVar = Occupied.TRAFFIC_QUALITY
    on_agent: ClassVar = "network"
    downs: ClassVar = False

    traffic: Traffic = Field(default=Traffic.PEER, description="With whom.")
    towards: tuple[HostName, ...] | None = Field(
        default=None, min_length=1, max_length=15, description="With these peers alone; default: all."
    )
    direction: QualityDirection = Field(
        default=QualityDirection.ANY,
        description="Which way, seen from the member; any: whichever its host can do.",
    )
    preset: QualityPreset | None = Field(default=None, description="A delay by name.")
    delay: Seconds | None = Field(default=None, gt=0, le=60, description="Of each packet.")
    jitter: Seconds | None = Field(default=None, gt=0, le=60, description="How far delays lie apart.")
    distribution: Distribution | None = Field(
        default=None, description="Of delays: within ± jitter (default), jitter as deviation, long tail."
    )
    loss: Share | None = Field(default=None, description="Of packets.")
    loss_correlation: Share | None = Field(
        default=None, description="How likely a packet shares the fate of the one before."
    )
    duplicate: Share | None = Field(default=None, description="Of packets.")
    corrupt: Share | None = Field(default=None, description="Of packets: one bit is flipped.")
    reorder: Share | None = Field(default=None, description="Of packets: goes at once, others are delayed.")
    rate: BitRate | None = Field(default=None, description="Of the link.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.preset is not None and (self.delay, self.jitter, self.distribution) != (None, None, None):
            raise ValueError("preset says the delay: leave out delay, jitter and distribution, or preset")
        late = self.preset is not None or self.delay is not None
        if not late and not any((self.loss, self.duplicate, self.corrupt, self.rate)):
            raise ValueError(
                "network: nothing is asked for: add preset, delay, loss, duplicate, corrupt or rate"
            )
        if not late and any((self.jitter, self.distribution, self.reorder)):
            raise ValueError("jitter, distribution and reorder are about a delay: add delay or preset")
        if self.distribution is not None and self.jitter is None:
            raise ValueError("distribution is about jitter: add jitter, such as 50ms")
        if self.loss_correlation and not self.loss:
            raise ValueError("loss_correlation is about loss: add loss, such as 10%")
        if self.towards is not None and self.traffic is not Traffic.PEER:
            raise ValueError("towards names peers: it stands with traffic: peer alone")
        return self

    def spec(self, place: Place) -> FaultSpec:
        """What the member's traffic meets.

        Raises:
            FaultIneffectiveError: the member has no such peer.
        """
        late = self._delay()
        with_peers = self.traffic is not Traffic.CLIENT
        return NetworkFault(
            peer_port=place.host.peer_port if with_peers else None,
            peers=self._peers(place) if with_peers else (),
            client_port=place.host.client_port if self.traffic is not Traffic.PEER else None,
            direction=self.direction.value,
            delay_seconds=late.delay,
            jitter_seconds=late.jitter,
            distribution=late.distribution.value,
            loss=self.loss or 0.0,
            loss_correlation=self.loss_correlation or 0.0,
            duplicate=self.duplicate or 0.0,
            corrupt=self.corrupt or 0.0,
            reorder=self.reorder or 0.0,
            rate_bits_per_second=self.rate,
        )

    @property
    def delay_seconds(self) -> float:
        """How late packets are meant to be, by the preset or as said."""
        return self._delay().delay

    def _delay(self) -> _Delay:
        if self.preset is not None:
            return _PRESETS[self.preset]
        return _Delay(self.delay or 0.0, self.jitter or 0.0, self.distribution or Distribution.UNIFORM)

    def _peers(self, place: Place) -> tuple[Peer, ...]:
        wanted = self.towards or place.others
        peers = tuple(
            Peer(address=member.address, port=member.peer_port)
            for member in place.members
            if member.name in wanted and member.name != place.host.name
        )
        if not peers:
            raise FaultIneffectiveError(f"network: {place.host.name} has no peer that it is about")
        return peers
