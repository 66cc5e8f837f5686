"""Three agents in memory and what their faults are driven with."""

from __future__ import annotations

from pathlib import Path

from tester.clock import RunClock
from tester.events import Event, EventBus
from tester.faults import CaseFault, FaultTiming, Scene
from tester.scenario.faults import FailpointSection
from tests.unit.faults.agents import MemoryAgent
from tests.unit.scenario.cases import fault as section
from tests.unit.scenario.hosts import inventory

QUICK = FaultTiming(lease=1.0, inject=5, heal=0.2, attempt=0.1, retry=0.02, abandon=0.05)
ALL = ("h1", "h2", "h3")


class Stage:
    """Three agents in memory, and what was published."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.agents = {name: MemoryAgent(name, self.log) for name in ALL}
        self.events: list[Event] = []
        self.silent: set[str] = set()
        """Addresses whose ssh does not answer from outside."""
        self.looks = 0
        self.cut_off: set[str] = set()
        """The same while a fault is there."""
        self.outputs = Path("/nonexistent")
        self.clock = RunClock()
        self.bus = EventBus()
        self.bus.subscribe(self.events.append)

    def fault(self, kind: str = "kill", timing: FaultTiming = QUICK, **keys: object) -> CaseFault:
        grace = {"grace": "7s"} if kind in {"stop", "restart", "rolling-restart"} else {}
        made = section(kind, **grace, **keys)
        if isinstance(made, FailpointSection) and made.every is not None:  # as in the case of one of them
            made = made.model_copy(update={"terms": {"beforeCommit": made.every}})
        return CaseFault(made, "c", self.scene(), timing)

    def scene(self, bound: int | None = None) -> Scene:
        return Scene(
            run="run1",
            round=2,
            hosts=inventory(3).hosts,
            agents=self.agents,
            bus=self.bus,
            clock=self.clock,
            inventory=Path("inventory/"),
            outputs=self.outputs,
            max_faulted=bound,
            answers=self._answers,
        )

    async def _answers(self, address: str, port: int, _seconds: float) -> bool:
        assert port == 22
        self.looks += 1
        host = next(host for host in inventory(3).hosts if host.address == address)
        return address not in self.silent and (address not in self.cut_off or self.agents[host.name].clean)

    @property
    def clean(self) -> bool:
        return all(agent.clean for agent in self.agents.values())

    def seen(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]
