"""Faults inside an etcd that was built with gofail."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from agent_service.models import FailpointFault, FailpointName, FailpointTerm
from tester.scenario.faults.base import FaultSection, Occupied

if TYPE_CHECKING:
    from agent_service.models import FaultSpec
    from tester.scenario.faults.base import Place


class FailpointSection(FaultSection):
    """Failpoints are set. One that panics ends the member, which is started again when the fault is healed."""

    fault: Literal["failpoint"] = "failpoint"
    occupies: ClassVar = Occupied.PROCESS
    on_agent: ClassVar = "failpoint"
    may_miss: ClassVar = True  # without those that a panic has ended, the rest may not get there

    terms: dict[FailpointName, FailpointTerm] = Field(
        default_factory=dict, max_length=16, description="By its name, what each does: `sleep(100)`, `panic`."
    )
    every: FailpointTerm | None = Field(
        default=None, description="Instead: what each failpoint of the build does, in a case of its own."
    )

    @property
    def for_each(self) -> bool:
        """Whoever asks for every failpoint knows of none whether the load comes by it."""
        return self.every is not None

    def spec(self, place: Place) -> FaultSpec:  # noqa: ARG002 - the same everywhere
        """The same failpoints on every member."""
        return FailpointFault(terms=self.terms)
