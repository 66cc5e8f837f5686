"""What every fault of a scenario has in common. A kind of fault is one class here, and one on the agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tester.scenario.section import Section
from tester.scenario.target import ONE, Target
from tester.scenario.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.models import FaultSpec
    from tester.inventory import Host
    from tester.partitions import Cut


class Occupied(StrEnum):
    """What a fault takes hold of on a host: its agent lets two active faults never share one."""

    NOTHING = "nothing"
    PROCESS = "process"
    PEER_TRAFFIC = "peer-traffic"
    CLIENT_TRAFFIC = "client-traffic"
    CPU = "cpu"
    MEMORY = "memory"
    WALL_CLOCK = "wall-clock"
    AGENT = "agent"
    HOST = "host"
    TRAFFIC_QUALITY = "traffic-quality"
    DISK_SPEED = "disk-speed"
    DISK_ERRORS = "disk-errors"
    DISK_ROOM = "disk-room"

    @property
    def is_traffic(self) -> bool:
        """Whether a mistake there could cut a host off."""
        return self in {Occupied.PEER_TRAFFIC, Occupied.CLIENT_TRAFFIC, Occupied.TRAFFIC_QUALITY}


class Wave(IntEnum):
    """When a fault is injected among those that begin together: each must find what it needs."""

    RESTARTS = 0
    """Ends etcd and starts it again: while its disk still works."""
    BESIDE = 1
    """Leaves etcd running."""
    TAKES = 2
    """Ends or stops etcd, and some of the others need one that runs."""
    STRIKES = 3
    """Ends the agent or the host: nobody could inject anything afterwards."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault is injected: on which host, among which members, and what a partition drops there."""

    host: Host
    members: Sequence[Host]
    cut: Cut | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the other members."""
        return tuple(member.name for member in self.members if member.name != self.host.name)


class Flap(Section):
    """A fault that comes and goes: injected, healed and injected again on the same members, each verified."""

    on: Seconds = Field(ge=0.1, description="How long it is there.")
    off: Seconds = Field(ge=0.1, description="How long it is gone.")


class FaultSection(Section):
    """One fault on one target. Subclasses add ``fault``, its name, and what it needs to know."""

    occupies: ClassVar[Occupied]
    also_occupies: ClassVar[frozenset[Occupied]] = frozenset()
    """What else its healing would take from another fault."""
    on_agent: ClassVar[str | None]
    """The kind of fault that agents are asked for; ``None``: they have no part in it."""
    downs: ClassVar[bool] = True
    """Whether a member that is hit counts as down for the quorum guard."""
    one_at_a_time: ClassVar[bool] = False
    """Whether the targets are hit one after the other, and only one of them is down at a time."""
    wave: ClassVar[Wave] = Wave.BESIDE

    may_miss: ClassVar[bool] = False
    """Whether a member that etcd's own course keeps it from is no error, as long as others are hit."""

    target: Target = Field(default=ONE, description="To whom.")
    after: Seconds = Field(default=0.0, description="Injected so long after the first fault of the case.")
    lasts: Seconds | None = Field(
        default=None, description="Healed so long after its injection; default: with the case."
    )
    flap: Flap | None = Field(default=None, description="Comes and goes while the case holds.")

    @property
    def grace_seconds(self) -> float:
        """What injecting it may take beyond the time that every fault gets."""
        return 0.0

    @property
    def for_each(self) -> bool:
        """Whether it stands for as many as there are of its kind, each in a case of its own."""
        return False

    def spec(self, place: Place) -> FaultSpec:
        """What an agent is asked for.

        Raises:
            ValueError: there is nothing to do at this place.
        """
        raise NotImplementedError(f"{self.kind()} is no fault of an agent")

    @classmethod
    def holds(cls) -> frozenset[Occupied]:
        """All that no other fault may have on the same member meanwhile."""
        return (cls.also_occupies | {cls.occupies}) - {Occupied.NOTHING}

    @classmethod
    def kind(cls) -> str:
        """Its name: the value of ``fault`` in a file."""
        kind: str = cls.model_fields["fault"].default
        return kind
