"""What drives a fault: through the agents of its members, or, where these have no part in it, from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tester.faults.blows import BlowFault
from tester.faults.case_fault import CaseFault
from tester.faults.external import ExternalFault
from tester.scenario.faults.hosts import BlowSection, ExternalSection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from tester.faults.case_fault import Whole
    from tester.faults.scene import FaultTiming, Scene
    from tester.partitions import Cut
    from tester.scenario.faults import FaultSection


class Driver(Protocol):
    """Injects and heals one fault once; ``CaseFault`` says more."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The members that are hit so far."""

    @property
    def held_seconds(self) -> float | None:
        """From the verified injection to the start of healing; ``None`` before."""

    async def inject(self, members: Sequence[str], whole: Whole, cuts: Mapping[str, Cut]) -> None:
        """Inject and verify, or leave nothing behind and raise."""

    async def heal(self) -> None:
        """Heal and verify, to the end; harmless when repeated, and before any injection."""

    def raise_if_ended_early(self) -> None:
        """Raise, once, if it was over before it was asked to."""


def driver(
    fault: FaultSection, label: str, scene: Scene, timing: FaultTiming, ended_early: asyncio.Event
) -> Driver:
    """The driver of a fault.

    Args:
        fault: what is done.
        label: names it within its round.
        scene: where.
        timing: deadlines and leases.
        ended_early: to be set when it is over on some member although nobody asked for it.
    """
    if isinstance(fault, BlowSection):
        return BlowFault(fault, label, scene, timing)
    if isinstance(fault, ExternalSection):
        return ExternalFault(fault, label, scene)
    return CaseFault(fault, label, scene, timing, ended_early)
