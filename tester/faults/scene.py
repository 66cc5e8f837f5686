"""Where faults of a round happen, and how long things may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tester.faults.witness import answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tester.clock import RunClock
    from tester.events import EventBus
    from tester.faults.specs import FaultAgent
    from tester.faults.witness import Answers
    from tester.inventory import Host


@dataclass(frozen=True, slots=True)
class FaultTiming:
    """Deadlines and leases, in seconds."""

    lease: float = 15.0
    """How long a host keeps a fault that nobody renews."""
    inject: float = 15.0
    """Until a fault is there and verified; a grace period comes on top."""
    heal: float = 30.0
    """Until a fault is gone and verified, with every attempt."""
    attempt: float = 10.0
    """Until an agent has answered one request to heal."""
    retry: float = 0.5
    """Between two attempts to heal."""
    witness: float = 8.0
    """Until a host with a fault on its traffic has answered from outside."""
    abandon: float = 3.0
    """On cancellation: how long answers of injections under way are waited for."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where faults of a round happen."""

    run: str
    """Unique to this run (not its seed): part of what fault ids are made of."""
    round: int
    hosts: Sequence[Host]
    """Of all members."""
    agents: Mapping[str, FaultAgent]
    """By host name."""
    bus: EventBus
    clock: RunClock
    inventory: Path
    """For the remedy of an unhealed host."""
    outputs: Path
    """A folder of the round for what scripts of the user's print."""
    max_faulted: int | None = None
    answers: Answers = answers
    """How it is seen from here that a port answers."""
    looked: dict[tuple[str, str], float] = field(default_factory=dict)
    """When that was seen last of a host's ssh: ``Witness.before``."""
