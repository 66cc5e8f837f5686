"""What a scenario file says, validated. Where data enters: everything behind it works with plain values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from agent_service.models import EnvName, FlagName, Value, Version
from tester.scenario.section import Section, Slug
from tester.scenario.stressers import Stresser
from tester.scenario.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClusterSection(Section):
    """Which cluster to start on the hosts."""

    members: int | None = Field(default=None, ge=1, le=15, description="How many hosts; default: all.")
    version: Version | None = Field(default=None, description="etcd version; default: the inventory's.")
    flags: dict[FlagName, Value] = Field(default_factory=dict, description="etcd flags, without dashes.")
    env: dict[EnvName, Value] = Field(default_factory=dict, description="Environment of etcd.")
    start_timeout: Seconds = Field(default=60.0, description="Until every member is healthy.")


class FaultKind(StrEnum):
    """Faults a case may inject."""

    NONE = "none"
    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    RESTART = "restart"
    ROLLING_RESTART = "rolling-restart"
    CRASH_LOOP = "crash-loop"
    ISOLATE = "isolate"
    PARTITION = "partition"
    CLIENT_PORT = "client-port"
    PEER_PORT = "peer-port"

    @property
    def on_agent(self) -> str:
        """The kind of fault that an agent is asked for."""
        return "restart" if self is FaultKind.ROLLING_RESTART else self.value


class TargetKind(StrEnum):
    """Who is hit. Resolved when the fault is injected, from the cluster as it then is."""

    ONE = "one"
    """Any one voting member, drawn with the seed."""
    FOLLOWER = "follower"
    LEADER = "leader"
    MINORITY = "minority"
    """The most members that leave a quorum, drawn with the seed."""
    MAJORITY = "majority"
    """The fewest members whose absence breaks quorum, drawn with the seed."""
    ALL = "all"


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
    """How a port is blocked."""

    DROP = "drop"
    """Silence."""
    REJECT = "reject"
    """A TCP reset, as if nobody listened."""


class CaseSection(Section):
    """One fault on one target."""

    name: Slug = Field(description="Lower-case letters, digits, inner dashes; unique in the file.")
    fault: FaultKind = Field(description="What is done.")
    target: TargetKind = Field(default=TargetKind.ONE, description="To whom.")
    steady: Seconds = Field(default=1.0, description="Load before the fault.")
    hold: Seconds = Field(default=3.0, description="How long the fault is held.")
    settle: Seconds = Field(default=1.0, description="Load after recovery, before the check.")
    grace: Seconds = Field(default=10.0, le=300, description="stop and restarts: SIGKILL after this.")
    every: Seconds = Field(default=5.0, ge=0.5, le=300, description="crash-loop: killed again after this.")
    partition: PartitionPreset | None = Field(default=None, description="partition: who drops whom.")
    action: PortAction = Field(default=PortAction.DROP, description="client-port and peer-port: how.")
    allow_quorum_loss: bool = Field(default=False, description="Required if the fault takes quorum away.")


class CheckerName(StrEnum):
    """Checkers a scenario may name."""

    KV_HASH = "kv-hash"
    DURABILITY = "durability"
    RECOVERY = "recovery"
    EXITS = "exits"
    LINEARIZABLE = "linearizable"
    SERIALIZABLE = "serializable"
    WATCH = "watch"
    LEASES = "leases"


DEFAULT_CHECKERS = (
    CheckerName.KV_HASH,
    CheckerName.DURABILITY,
    CheckerName.RECOVERY,
    CheckerName.EXITS,
    CheckerName.LINEARIZABLE,
    CheckerName.WATCH,
)
"""What a scenario is judged by that names no checkers: what any load gives evidence for."""

_STRESSER_CHECKERS: Final = {"lease": CheckerName.LEASES}
"""Who judges what a kind of stresser does beside reading and writing."""


def _judges(data: Mapping[str, Any]) -> tuple[CheckerName, ...]:
    kinds = {stresser.kind for stresser in data.get("stressers", ())}
    own = (checker for kind, checker in _STRESSER_CHECKERS.items() if kind in kinds)
    return (*DEFAULT_CHECKERS, *own)


class Transport(StrEnum):
    """What carries the load's calls to the members."""

    H2 = "h2"
    """The project's own HTTP/2 framing: the least cost per call."""
    GRPC = "grpc"
    """grpc.aio: the control."""


class Limits(Section):
    """What is still acceptable."""

    recovery: Seconds = Field(
        default=30.0, description="From heal until leader, all serving, writes accepted."
    )
    round: Seconds = Field(default=3600.0, description="A round that takes longer is ended as an error.")


class Scenario(Section):
    """A scenario file."""

    name: Slug = Field(description="Lower-case letters, digits, inner dashes.")
    description: str = Field(default="", max_length=500, description="For people.")
    cluster: ClusterSection = Field(default=ClusterSection(), description="Which cluster.")
    transport: Transport = Field(default=Transport.H2, description="What the load's calls go over.")
    stressers: tuple[Stresser, ...] = Field(default=(), max_length=16, description="The load.")
    cases: tuple[CaseSection, ...] = Field(min_length=1, max_length=500, description="One after the other.")
    checkers: tuple[CheckerName, ...] = Field(
        default_factory=_judges,
        description=f"Who judges; default: {', '.join(DEFAULT_CHECKERS)}, and those of the stressers.",
    )
    rounds: int = Field(default=1, ge=1, le=1_000_000, description="How often, each on a new cluster.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Default: drawn and printed.")
    shuffle: bool = Field(default=False, description="Cases in an order drawn with the seed.")
    limits: Limits = Field(default=Limits(), description="What is acceptable.")
    keep_revisions: int = Field(default=10_000, ge=0, description="Compaction after a round keeps this many.")
