"""Every fault, whoever dies while it is held, and many of them at once: the hosts come back as they were.

``ETCD_CHAOS_SOAK`` is the number of random compositions, and then every fault has its turn (``make soak-faults``);
without it, a part of them.
"""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from typing import TYPE_CHECKING, Final

from agent_client import AgentClientError
from agent_service.models import FaultRequest, FaultState
from tester.faults import CaseFaults, FaultTiming
from tester.nemesis import draw_cases
from tester.plan import stream
from tester.scenario.model import NemesisItem, NemesisSection
from tests.lab.examples import examples, place
from tests.lab.rig import until_quiet
from tests.lab.standing import Standing, standing

if TYPE_CHECKING:
    from tester.scenario.faults import FaultSection
    from tester.scenario.model import CaseSection
    from tests.lab.rig import Rig

SOAK: Final = int(os.environ.get("ETCD_CHAOS_SOAK", "0"))
SEED: Final = int(os.environ.get("ETCD_CHAOS_SOAK_SEED", "7"))
LEASE_SECONDS: Final = 3.0
DIE_HARD: Final = "systemctl kill --signal=KILL etcd-chaos-agent"


def some(kinds: list[str], count: int) -> list[str]:
    """All of them in a soak; else so many, the same ones each time."""
    return kinds if SOAK else sorted(random.Random(SEED).sample(kinds, min(count, len(kinds))))


async def doable(cluster: Standing) -> dict[str, FaultSection]:
    """The faults that every host of the lab can do; the others are named."""
    able = {kind: await cluster.able(section.on_agent or "") for kind, section in examples().items()}
    print("not on these hosts:", ", ".join(kind for kind, can in able.items() if not can) or "none")
    return {kind: section for kind, section in examples().items() if able[kind]}


async def test_a_host_is_clean_whoever_dies_while_a_fault_is_held(rig: Rig) -> None:
    """The first host loses its tester, the second its agent, the third both."""
    async with standing(rig) as cluster:
        able = await doable(cluster)
        before = await cluster.footprints()
        for kind in some([*able], 4):
            late = await _lose(cluster, kind, able[kind])
            await cluster.whole()
            assert await cluster.footprints() == before, kind
            print(f"{kind:<20} healed {', '.join(f'{s:.2f}' for s in late)} s after the lease had ended")


async def _lose(cluster: Standing, kind: str, section: FaultSection) -> list[float]:
    """Inject on every host, lose what is to be lost, and wait until nothing is active."""
    hosts = cluster.plan.hosts
    names = [host.name for host in hosts]
    requests = {
        host.name: FaultRequest(
            id=f"every-{kind}-{host.name}",
            spec=section.spec(place(host, hosts)),
            lease_seconds=LEASE_SECONDS,
            reason="a test",
        )
        for host in hosts
    }
    injected = await asyncio.gather(*(cluster.agents[name].inject(requests[name]) for name in names))
    assert {status.state for status in injected} == {FaultState.INJECTED}, kind
    forsaken, orphan, both = names
    await asyncio.gather(cluster.rig.shell(orphan, DIE_HARD), cluster.rig.shell(both, DIE_HARD))
    await _heal(cluster, orphan, requests[orphan].id)

    async def active() -> list[str]:
        found = []
        for name in (forsaken, both):
            try:
                status = await cluster.agents[name].fault(requests[name].id)
            except AgentClientError as error:
                found.append(str(error))
                continue
            if status.state is not FaultState.HEALED:
                found.append(f"{name}: {status.state}")
        return found

    await until_quiet(active)
    ended = [await cluster.agents[name].fault(requests[name].id) for name in (forsaken, both)]
    assert ended[0].healed_by == "lease", kind
    # An agent that dies when the lease is over already is followed by its unit's command, or by the next agent.
    assert ended[1].healed_by in {"lease", "heal-command", "agent-start"}, kind
    return [
        (status.healed_monotonic_ns - status.injected_monotonic_ns) / 1e9 - LEASE_SECONDS
        for status in ended
        if status.healed_monotonic_ns is not None and status.injected_monotonic_ns is not None
    ]


async def _heal(cluster: Standing, host: str, fault_id: str) -> None:
    """As the tester does: again and again, until the agent is back and has done it."""

    async def left() -> str:
        try:
            status = await cluster.agents[host].heal(fault_id)
        except AgentClientError as error:
            return str(error)
        return "" if status.state is FaultState.HEALED else status.evidence

    await until_quiet(left)


async def test_random_compositions_leave_nothing_behind(rig: Rig) -> None:
    async with standing(rig) as cluster:
        able = await doable(cluster)
        menu = tuple(NemesisItem.model_construct(weight=1.0, fault=section) for section in able.values())
        nemesis = NemesisSection.model_construct(
            kind="random",
            cases=SOAK or 5,
            at_once=4,
            steady=0,
            hold=0.5,
            settle=0,
            menu=menu,
            allow_quorum_loss=True,
        )
        voters = tuple(host.name for host in cluster.plan.hosts)
        before = await cluster.footprints()
        for case in draw_cases(nemesis, voters, None, random.Random(SEED)):
            hit = await _compose(cluster, case)
            await cluster.whole()
            assert await cluster.footprints() == before, f"{case.name}: {case.title} on {hit}, seed {SEED}"
            print(f"{case.name}: {case.title} on {', '.join(hit)}")


async def _compose(cluster: Standing, case: CaseSection) -> tuple[str, ...]:
    draw = partial(stream, SEED, case.name)
    faults = CaseFaults(case, cluster.scene, cluster.roles, draw, FaultTiming())
    async with faults:
        await faults.inject(cluster.whole)
        await faults.hold(case.hold)
        await faults.heal()
    return faults.targets
