"""What a scenario file says, validated. Where data enters: everything behind it works with plain values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from agent_service.models import EnvName, FlagName, Value, Version
from tester.load.kinds import OperationKind
from tester.load.presets import mix_of
from tester.scenario.actions import Action
from tester.scenario.faults import Fault
from tester.scenario.section import Section, Slug
from tester.scenario.stressers import KvStresser, Stresser
from tester.scenario.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_FAULT: Final = "none"
"""What a file writes where a case has none."""


class Tls(StrEnum):
    """Of members, towards clients and peers."""

    OFF = "off"
    AUTO = "auto"
    """Each member signs a certificate itself: encryption without proof of who answers."""
    OWN = "own"
    """Certificates of a CA that is made for the round; peers verify each other."""


class DiskKind(StrEnum):
    """What is under a member's data."""

    BARE = "bare"
    """The host's disk."""
    FUSE = "fuse"
    """A layer over it that the agent mounts, which can be slow, full or broken."""


VersionNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4}){0,2}$")]


class VersionFlags(Section):
    """Flags for some versions of etcd: one that it does not know keeps it from starting."""

    since: VersionNumber | None = Field(
        default=None, description="This one and newer; default: from the first."
    )
    below: VersionNumber | None = Field(
        default=None, description="Older than this; default: up to the newest."
    )
    flags: dict[FlagName, Value] = Field(min_length=1, description="etcd flags, without dashes.")

    @model_validator(mode="after")
    def _for_some(self) -> Self:
        if self.since is None and self.below is None:
            raise ValueError(
                "these flags are for every version: put them into cluster.flags, or say since or below"
            )
        return self


class ClusterSection(Section):
    """Which cluster to start on the hosts."""

    members: int | None = Field(default=None, ge=1, le=15, description="How many hosts; default: all.")
    version: Version | None = Field(default=None, description="etcd version; default: the inventory's.")
    flags: dict[FlagName, Value] = Field(default_factory=dict, description="etcd flags, without dashes.")
    flags_by_version: tuple[VersionFlags, ...] = Field(
        default=(), max_length=20, description="More flags, for some versions; later ones outrank."
    )
    env: dict[EnvName, Value] = Field(default_factory=dict, description="Environment of etcd.")
    initial: int | None = Field(
        default=None, ge=1, le=15, description="So many start, the others are spares; default: all."
    )
    disk: DiskKind = Field(
        default=DiskKind.BARE, description="What the data lie on; faults on the disk need fuse."
    )
    start_timeout: Seconds = Field(default=60.0, description="Until every member is healthy.")
    tls: Tls = Field(default=Tls.OFF, description="Of clients and peers; own: with a CA made for the round.")
    client_cert_auth: bool = Field(default=False, description="tls own: clients need a certificate, too.")
    auth: bool = Field(default=False, description="Users, roles and tokens; the load has a user of its own.")

    @model_validator(mode="after")
    def _certificates_need_a_ca(self) -> Self:
        if self.client_cert_auth and self.tls is not Tls.OWN:
            raise ValueError("client_cert_auth needs a CA to verify clients with: set tls to own")
        return self


class Until(StrEnum):
    """What a hold may wait for, beyond its time."""

    ENTRIES = "entries"
    """So many entries are committed that every member makes a snapshot of its own."""
    SNAPSHOT = "snapshot"
    """So many that a member without them has to be sent one; and those that were hit must then have received it."""


class CaseSection(Section):
    """Some faults at once or staggered, each on its target; none: the load alone.

    A file may write a single fault's keys beside those of the case: ``tester.scenario.shorthand``.
    """

    name: Slug = Field(description="Lower-case letters, digits, inner dashes; unique in the file.")
    faults: tuple[Fault, ...] = Field(
        max_length=16, description="What is done; or the keys of a single one beside these."
    )
    actions: tuple[Action, ...] = Field(
        default=(), max_length=16, description="What an operator does meanwhile, one after the other."
    )
    steady: Seconds = Field(default=1.0, description="Load before the first fault.")
    hold: Seconds = Field(default=3.0, description="How long it is held, and until all actions are done.")
    until: Until | None = Field(default=None, description="Held no shorter than until this is so.")
    settle: Seconds = Field(default=1.0, description="Load after recovery, before the check.")
    load: bool = Field(default=True, description="false: it is paused from beginning to end.")
    allow_quorum_loss: bool = Field(default=False, description="Required if quorum is taken away.")

    @property
    def changes_members(self) -> bool:
        """Whether an action of it adds or removes some."""
        return any(action.changes_members for action in self.actions)

    @property
    def title(self) -> str:
        """Its faults and actions in words: ``kill``, ``isolate + kill``, ``kill, defragment``, ``none``."""
        faults = " + ".join(fault.kind() for fault in self.faults)
        return ", ".join(filter(None, (faults, *(action.kind() for action in self.actions)))) or NO_FAULT


class NemesisItem(Section):
    """A fault that may be drawn."""

    weight: float = Field(default=1.0, gt=0, le=1000, description="How often, beside the others.")
    fault: Fault = Field(description="The fault; its keys stand beside the weight.")


class NemesisSection(Section):
    """Cases drawn with the seed, other ones in every round, after the cases of the file."""

    kind: Literal["random"] = Field(description="Which nemesis.")
    cases: int = Field(default=5, ge=1, le=500, description="How many are drawn for a round.")
    at_once: int = Field(default=2, ge=1, le=4, description="Each has from one to so many faults.")
    steady: Seconds = Field(default=1.0, description="Of each case.")
    hold: Seconds = Field(default=3.0, description="Of each case.")
    settle: Seconds = Field(default=1.0, description="Of each case.")
    allow_quorum_loss: bool = Field(default=False, description="Whether a case may take quorum away.")
    menu: tuple[NemesisItem, ...] = Field(
        default=(), max_length=100, description="What is drawn from; default: a menu of the common faults."
    )


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
    LOCKS = "locks"
    ELECTIONS = "elections"
    PROGRESS = "progress"
    AVAILABILITY = "availability"
    LOGS = "logs"
    ALARMS = "alarms"
    RESTORE = "restore"


DEFAULT_CHECKERS = (
    CheckerName.KV_HASH,
    CheckerName.DURABILITY,
    CheckerName.RECOVERY,
    CheckerName.EXITS,
    CheckerName.LINEARIZABLE,
    CheckerName.WATCH,
)
"""What a scenario is judged by that names no checkers: what any load gives evidence for."""

_STRESSER_CHECKERS: Final = {
    "lease": (CheckerName.LEASES,),
    "lease-renewer": (CheckerName.LEASES, CheckerName.PROGRESS),
    "lock": (CheckerName.LEASES, CheckerName.LOCKS, CheckerName.PROGRESS),
    "election": (CheckerName.LEASES, CheckerName.ELECTIONS, CheckerName.PROGRESS),
    "watcher": (CheckerName.PROGRESS,),
}
"""Who judges what a kind of stresser does beside reading and writing."""

_ACTION_CHECKERS: Final = {"restore-snapshot": (CheckerName.RESTORE,)}

_OPERATION_CHECKERS: Final = {
    OperationKind.GET_SERIALIZABLE: CheckerName.SERIALIZABLE,
    OperationKind.PUT_LEASE: CheckerName.LEASES,
}
"""Who judges an operation of a mix that others leave alone."""


def _judges(data: Mapping[str, Any]) -> tuple[CheckerName, ...]:
    own: set[CheckerName] = set()
    for stresser in data.get("stressers", ()):
        own.update(_STRESSER_CHECKERS.get(stresser.kind, ()))
        if isinstance(stresser, KvStresser):
            asked = {kind for kind, _ in mix_of(stresser).weights}
            own.update(checker for kind, checker in _OPERATION_CHECKERS.items() if kind in asked)
    actions = (action for case in data.get("cases", ()) for action in case.actions)
    own.update(checker for action in actions for checker in _ACTION_CHECKERS.get(action.kind(), ()))
    return (*DEFAULT_CHECKERS, *(checker for checker in CheckerName if checker in own))


class WorkersOn(StrEnum):
    """Where the load runs."""

    TESTER = "tester"
    """Beside the tester, on its own machine."""
    LOAD = "load"
    """On the hosts of the inventory's group ``load``, held by their agents."""


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
    gap: Seconds | None = Field(
        default=None, description="Longest time without any acknowledged operation; for `availability`."
    )
    round: Seconds = Field(default=3600.0, description="A round that takes longer is ended as an error.")


class Scenario(Section):
    """A scenario file."""

    name: Slug = Field(description="Lower-case letters, digits, inner dashes.")
    description: str = Field(default="", max_length=500, description="For people.")
    cluster: ClusterSection = Field(default=ClusterSection(), description="Which cluster.")
    transport: Transport = Field(default=Transport.H2, description="What the load's calls go over.")
    stressers: tuple[Stresser, ...] = Field(default=(), max_length=16, description="The load.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that the load runs in.")
    workers_on: WorkersOn = Field(
        default=WorkersOn.TESTER,
        description="load: so many workers on each host of the inventory's group load.",
    )
    cases: tuple[CaseSection, ...] = Field(default=(), max_length=500, description="One after the other.")
    include: tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...] = Field(
        default=(), max_length=50, description="Scenarios whose cases follow: names, or paths from this file."
    )
    nemesis: NemesisSection | None = Field(
        default=None, description="Cases that are drawn; or just `random`."
    )
    checkers: tuple[CheckerName, ...] = Field(
        default_factory=_judges,
        description=f"Who judges; default: {', '.join(DEFAULT_CHECKERS)}, and those of the stressers and actions.",
    )
    rounds: int = Field(
        default=1, ge=0, le=1_000_000, description="How often, each on a new cluster; 0: until stopped."
    )
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Default: drawn and printed.")
    shuffle: bool = Field(
        default=False,
        description="Cases in an order drawn with the seed, those with `until: snapshot` apart.",
    )
    limits: Limits = Field(default=Limits(), description="What is acceptable.")
    keep_revisions: int = Field(default=10_000, ge=0, description="Compaction after a round keeps this many.")
    defragment_every: int = Field(
        default=0, ge=0, le=1_000_000, description="After so many rounds members are defragmented; 0: never."
    )
