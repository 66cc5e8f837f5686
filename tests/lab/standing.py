"""A cluster that stands on the lab's hosts, and faults that are driven without a run around them."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.agents import connect
from tester.clock import RunClock
from tester.cluster import bootstrap, member_specs
from tester.etcd.monitor import ClusterMonitor
from tester.events import EventBus
from tester.faults import Scene
from tester.plan import Plan, make_plan
from tester.scenario.model import Scenario
from tester.security import make_security
from tester.session import open_session
from tester.targets import Roles
from tests.lab.rig import until_quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from agent_client import AgentClient
    from tests.lab.rig import Look, Rig

WHOLE_SECONDS = 60.0
_MOMENTS = 10.0


@dataclass(frozen=True)
class Standing:
    """A whole cluster."""

    rig: Rig
    plan: Plan
    agents: dict[str, AgentClient]
    monitor: ClusterMonitor
    scene: Scene

    def roles(self) -> Roles:
        """The members' roles as of now."""
        view = self.monitor.view()
        return Roles(view.voters, view.leader, view.learners)

    async def whole(self) -> bool:
        """Wait until every member serves and accepts writes."""
        await self.monitor.wait_leader(WHOLE_SECONDS)
        await self.monitor.wait_serving(WHOLE_SECONDS)
        await self.monitor.wait_writes(WHOLE_SECONDS)
        return True

    async def footprints(self) -> dict[str, Look]:
        """What no fault may change, by host."""
        return {name: look.footprint for name, look in (await self.rig.looks()).items()}

    async def clean(self, before: dict[str, Look], after: str) -> None:
        """See that every host is as it was; what ends by itself within moments has ended."""

        async def different() -> list[str]:
            now = await self.footprints()
            return [
                f"{host} after {after}: {field} was {getattr(before[host], field)}, is {getattr(look, field)}"
                for host, look in now.items()
                for field in look.__struct_fields__
                if getattr(look, field) != getattr(before[host], field)
            ]

        await until_quiet(different, seconds=_MOMENTS)

    async def able(self, kind: str) -> bool:
        """Whether every host can do such a fault."""
        return await _can(self.agents.values(), kind)


async def _can(agents: Collection[AgentClient], kind: str) -> bool:
    infos = await asyncio.gather(*(agent.host() for agent in agents))
    return all(any(one.kind == kind and one.available for one in info.capabilities) for info in infos)


@asynccontextmanager
async def standing(rig: Rig) -> AsyncIterator[Standing]:
    """Start a cluster on the hosts of a rig, on disk layers if they can have them; it is gone at the end."""
    async with open_session(rig.inventory, lambda _: None) as session:
        inventory = session.inventory
    clock, bus = RunClock(), EventBus()
    async with connect(inventory) as agents:
        disk = "fuse" if await _can(agents.values(), "power-loss") else "bare"
        scenario = Scenario.model_validate(
            {"name": "standing", "nemesis": {"kind": "random"}, "cluster": {"disk": disk}}
        )
        plan = make_plan(scenario, inventory, seed=1)
        security = make_security(scenario.cluster, plan.hosts)
        monitor = ClusterMonitor(security.admin_endpoints(plan.hosts), clock, bus)
        scripts = rig.inventory.parent / "scripts"
        run = f"standing-{secrets.token_hex(3)}"  # ids of faults are new on hosts that remember earlier ones
        scene = Scene(run, 1, plan.hosts, agents, bus, clock, rig.inventory, scripts)
        await monitor.start()
        try:
            specs = member_specs(plan, "standing", security)
            await bootstrap(agents, specs, security.members, monitor, WHOLE_SECONDS)
            yield Standing(rig, plan, agents, monitor, scene)
        finally:
            await monitor.stop()
            await asyncio.gather(*(agent.heal_all() for agent in agents.values()))
            await asyncio.gather(*(agent.terminate() for agent in agents.values()))
