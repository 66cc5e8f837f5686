"""An agent in memory, with everything that can go wrong with one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_client.errors import AgentRefusedError, AgentUnreachableError
from agent_service.models import FaultPlan, FaultRequest, FaultSpec, FaultState, FaultStatus, Problem

if TYPE_CHECKING:
    import asyncio


def refused(status: int, text: str) -> AgentRefusedError:
    return AgentRefusedError(text, Problem(title=text, status=status, detail=text))


@dataclass
class MemoryAgent:
    """Follows the contract of the real one; knobs make it fail. ``log`` is shared: the order of things."""

    name: str
    log: list[str] = field(default_factory=list)
    faults: dict[str, FaultStatus] = field(default_factory=dict)
    inject_fails: Exception | None = None
    inject_state: FaultState = FaultState.INJECTED
    inject_waits: asyncio.Event | None = None
    renew_fails: Exception | None = None
    renew_fails_once: Exception | None = None
    heal_fails: list[Exception] = field(default_factory=list)
    """Each attempt takes one; then it works."""
    heal_state: FaultState = FaultState.HEALED
    heal_waits: asyncio.Event | None = None
    silent: int = 0
    """So many questions get no answer: the host is down."""
    knock_fails: Exception | None = None
    renewals: int = 0
    leases: list[float] = field(default_factory=list)

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        return FaultPlan(inject=(f"do {spec.kind}",), undo=(f"undo {spec.kind}",))

    async def inject(self, request: FaultRequest) -> FaultStatus:
        self.log.append(f"{self.name} inject")
        if self.inject_waits is not None:
            await self.inject_waits.wait()
        if self.inject_fails is not None:
            raise self.inject_fails
        self.leases.append(request.lease_seconds)
        status = FaultStatus(
            id=request.id,
            spec=request.spec,
            state=self.inject_state,
            reason=request.reason,
            undo=("start the member",),
            evidence="seen",
            injected_monotonic_ns=1,
            healed_monotonic_ns=None,
            lease_remaining_seconds=request.lease_seconds,
            healed_by="failed-injection" if self.inject_state is FaultState.FAILED else None,
        )
        self.faults[request.id] = status
        self.log.append(f"{self.name} injected")
        return status

    async def renew(self, fault_id: str, lease_seconds: float) -> FaultStatus:
        self.renewals += 1
        self.leases.append(lease_seconds)
        failure, self.renew_fails_once = self.renew_fails or self.renew_fails_once, None
        if failure is not None:
            raise failure
        return self.faults[fault_id]

    async def fault(self, fault_id: str) -> FaultStatus:
        if self.silent > 0:
            self.silent -= 1
            raise unreachable()
        return self.faults[fault_id]

    async def heal(self, fault_id: str) -> FaultStatus:
        self.log.append(f"{self.name} heal")
        if self.silent > 0:
            self.silent -= 1
            raise unreachable()
        if self.heal_waits is not None:
            await self.heal_waits.wait()
        if self.heal_fails:
            raise self.heal_fails.pop(0)
        if fault_id not in self.faults:
            raise refused(404, "there is no such fault")
        status = self.faults[fault_id]
        if status.state is FaultState.INJECTED:
            update = {"state": self.heal_state, "healed_by": "request", "evidence": "gone"}
            self.faults[fault_id] = status = status.model_copy(update=update)
        if status.state is FaultState.HEALED:
            self.log.append(f"{self.name} healed")
        return status

    async def knock(self) -> None:
        if self.knock_fails is not None:
            raise self.knock_fails

    def heals_itself(self) -> None:
        """The lease has run out."""
        for fault_id, status in self.faults.items():
            update = {"state": FaultState.HEALED, "healed_by": "lease", "evidence": "lease"}
            self.faults[fault_id] = status.model_copy(update=update)

    @property
    def clean(self) -> bool:
        undone = {FaultState.HEALED, FaultState.FAILED}
        return all(status.state in undone for status in self.faults.values())


def unreachable() -> AgentUnreachableError:
    return AgentUnreachableError("agent https://10.207.0.2:9027: no answer")
