"""What a scenario file says, validated. Where data enters: everything behind it works with plain values."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from agent_service.models import EnvName, FlagName, HostName, Value, Version
from tester.load.kinds import Arrivals, KeyDistribution, OperationKind, Preset
from tester.scenario.units import PerSecond, Seconds, SizeBytes

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Names of scenarios and cases: they become parts of file names and fault ids."""


class Section(BaseModel):
    """Base of every part: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterSection(Section):
    """Which cluster to start on the hosts."""

    members: int | None = Field(default=None, ge=1, le=15, description="How many hosts; default: all.")
    version: Version | None = Field(default=None, description="etcd version; default: the inventory's.")
    flags: dict[FlagName, Value] = Field(default_factory=dict, description="etcd flags, without dashes.")
    env: dict[EnvName, Value] = Field(default_factory=dict, description="Environment of etcd.")
    start_timeout: Seconds = Field(default=60.0, description="Until every member is healthy.")


Weight = Annotated[float, Field(gt=0, le=1_000_000)]
"""Of an operation in a mix: what counts is its share of all weights."""


class KvStresser(Section):
    """Clients that put, get, list and delete keys."""

    kind: Literal["kv"] = Field(description="Which stresser.")
    preset: Preset = Field(default=Preset.FUNCTIONAL, description="Mix of operations, keys and sizes.")
    clients: int = Field(default=16, ge=1, le=1000, description="Each has one operation under way.")
    rate: PerSecond | None = Field(default=None, description="All clients together; default: unlimited.")
    arrivals: Arrivals = Field(default=Arrivals.CLOSED, description="open: `rate` alone starts operations.")
    member: HostName | None = Field(default=None, description="Whom all clients ask; default: spread.")
    keys: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Key space; default: the preset's."
    )
    value_size: SizeBytes | None = Field(default=None, description="Of small puts; default: the preset's.")
    large_value_size: SizeBytes | None = Field(
        default=None, description="Of put-large; default: the preset's."
    )
    weights: dict[OperationKind, Weight] | None = Field(
        default=None, min_length=1, description="Operations and their shares; default: the preset's."
    )
    distribution: KeyDistribution | None = Field(
        default=None, description="How keys are drawn; default: the preset's."
    )
    range_keys: int | None = Field(
        default=None, ge=1, le=100_000, description="Width of ranges; default: the preset's."
    )
    compare_keys: int | None = Field(
        default=None, ge=1, le=100_000, description="Width of ranges that txn-range compares."
    )
    page_keys: int | None = Field(default=None, ge=1, le=10_000, description="Limit of a page of list.")
    keep_revisions: int | None = Field(default=None, ge=1, description="What compact leaves, at least.")
    list_watchers: int | None = Field(
        default=None, ge=0, le=100, description="How many list, then watch, beside the clients."
    )
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")

    @model_validator(mode="after")
    def _open_needs_a_rate(self) -> Self:
        if self.arrivals is Arrivals.OPEN and self.rate is None:
            raise ValueError("arrivals are open and there is no rate: add rate, such as 500/s")
        return self


Stresser = KvStresser


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


DEFAULT_CHECKERS = tuple(name for name in CheckerName if name is not CheckerName.SERIALIZABLE)
"""What a scenario is judged by that names no checkers. Serializable reads must be asked for to be judged."""


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
    checkers: tuple[CheckerName, ...] = Field(default=DEFAULT_CHECKERS, description="Who judges.")
    rounds: int = Field(default=1, ge=1, le=1_000_000, description="How often, each on a new cluster.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Default: drawn and printed.")
    shuffle: bool = Field(default=False, description="Cases in an order drawn with the seed.")
    limits: Limits = Field(default=Limits(), description="What is acceptable.")
    keep_revisions: int = Field(default=10_000, ge=0, description="Compaction after a round keeps this many.")
