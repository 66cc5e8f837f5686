"""Every fault, whoever dies while it is held, and many of them at once: the hosts come back as they were.

``ETCD_CHAOS_SOAK`` is the number of random compositions, and then every fault has its turn (``make soak-faults``);
without it, a part of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from agent_client import AgentClientError
from agent_service.models import FaultRequest, FaultState
from tester.faults import CaseFaults, FaultTiming
from tester.nemesis import draw_cases
from tester.plan import stream
from tester.scenario.model import NemesisItem, NemesisSection
from tests.lab.effects import SIGHTS
from tests.lab.examples import agent_blows, examples, place
from tests.lab.rig import until_quiet
from tests.lab.standing import Standing, standing

if TYPE_CHECKING:
    from tester.scenario.faults import FaultSection
    from tester.scenario.model import CaseSection
    from tests.lab.rig import Look, Rig

SOAK: Final = int(os.environ.get("ETCD_CHAOS_SOAK", "0"))
SEED: Final = int(os.environ.get("ETCD_CHAOS_SOAK_SEED", "7"))
LEASE_SECONDS: Final = 3.0
PROOF_SECONDS: Final = 60.0
"""Of the first lease: within it the effect is seen."""
ALL_KINDS_FROM: Final = 100
"""So many compositions have every kind of fault among them."""
PATIENT: Final = FaultTiming(lease=60, inject=60, heal=120, attempt=30)
"""Leases have a test of their own: on a busy machine an agent that was killed may be back late."""
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
    """The first host loses its tester, the second its agent, the third both: a tester that is dead renews nothing."""
    async with standing(rig) as cluster:
        able = await doable(cluster)
        before = await cluster.footprints()
        for kind in some([*able], 4):
            await until_quiet(partial(_seen, cluster, kind, await rig.looks()))
            late = await _lose(cluster, kind, able[kind])
            await cluster.whole()
            await cluster.clean(before, kind)
            await until_quiet(partial(_seen, cluster, kind, await rig.looks()))
            print(f"{kind:<20} healed {', '.join(f'{s:.2f}' for s in late)} s after the lease had ended")


async def _seen(cluster: Standing, kind: str, before: dict[str, Look]) -> dict[str, str]:
    """By host, where there is one: the effect."""
    sights = await asyncio.gather(*(SIGHTS[kind](cluster, host, look) for host, look in before.items()))
    return {host: sight for host, sight in zip(before, sights, strict=True) if sight}


async def _prove(cluster: Standing, kind: str, before: dict[str, Look]) -> None:
    """Wait until every member has the effect, as seen from within the cluster."""
    seen: dict[str, str] = {}

    async def unseen() -> list[str]:
        seen.update(await _seen(cluster, kind, {host: before[host] for host in before if host not in seen}))
        return [f"{kind}: nothing is seen of it on {host}" for host in before if host not in seen]

    await until_quiet(unseen, seconds=PROOF_SECONDS)
    print(f"{kind:<20} seen: {'; '.join(dict.fromkeys(seen.values()))}")


async def _lose(cluster: Standing, kind: str, section: FaultSection) -> list[float]:
    """Inject on every host, see the effect, lose what is to be lost, and wait until nothing is active."""
    hosts = cluster.plan.hosts
    names = [host.name for host in hosts]
    before = await cluster.rig.looks(names)
    requests = {
        host.name: FaultRequest(
            id=f"{cluster.scene.run}-{kind}-{host.name}",
            spec=section.spec(place(host, hosts)),
            lease_seconds=PROOF_SECONDS,
            reason="a test",
        )
        for host in hosts
    }
    injected = await asyncio.gather(*(cluster.agents[name].inject(requests[name]) for name in names))
    assert {status.state for status in injected} == {FaultState.INJECTED}, kind
    await _prove(cluster, kind, before)
    forsaken, orphan, both = names
    renewed_ns = time.monotonic_ns()  # the lab's hosts share this machine's clock
    await asyncio.gather(*(cluster.agents[name].renew(requests[name].id, LEASE_SECONDS) for name in names))
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
        (status.healed_monotonic_ns - renewed_ns) / 1e9 - LEASE_SECONDS
        for status in ended
        if status.healed_monotonic_ns is not None
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
        able = await doable(cluster) | agent_blows()
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
        cases = draw_cases(nemesis, voters, None, random.Random(SEED))
        drawn = Counter(fault.kind() for case in cases for fault in case.faults)
        if SOAK >= ALL_KINDS_FROM:
            assert drawn.keys() == able.keys(), "every fault that these hosts can do has its turn"
        before = await cluster.footprints()
        for case in cases:
            hit = await _compose(cluster, case)
            await cluster.whole()
            await cluster.clean(before, f"{case.name} of seed {SEED}: {case.title} on {hit}")
            print(f"{case.name}: {case.title} on {', '.join(hit)}")
        print("drawn:", ", ".join(f"{kind} {count}" for kind, count in sorted(drawn.items())))


async def _compose(cluster: Standing, case: CaseSection) -> tuple[str, ...]:
    draw = partial(stream, SEED, case.name)
    faults = CaseFaults(case, cluster.scene, cluster.roles, draw, PATIENT)
    async with faults:
        await faults.inject(cluster.whole)
        await faults.hold(case.hold)
        await faults.heal()
    return faults.targets
