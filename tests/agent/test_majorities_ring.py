"""Partition ``majorities-ring`` on five real hosts: everybody sees a majority, and no two of them the same.

Without etcd: who reaches whom is a matter of the hosts' rules alone, and a port where nobody listens answers by
refusing.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tester.clock import RunClock
from tester.events import EventBus
from tester.faults import CaseFault, Scene
from tester.partitions import resolve_cuts
from tester.scenario.faults import PartitionPreset, PartitionSection
from tester.targets import Roles
from tests.agent.hosts import hosts_of
from tests.agent.test_network_faults import connects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.agent.hosts import TestHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, TestHost]]:
    with hosts_of(tmp_path, "3.5.16", 5) as made:
        yield made


async def reached(hosts: Mapping[str, TestHost]) -> dict[str, frozenset[str]]:
    """By host: itself, and those whose peer port answers it."""
    pairs = [(a, b) for a in hosts for b in hosts if a != b]
    answers = await asyncio.gather(*(connects(hosts[a], hosts[b], 2380) for a, b in pairs))
    assert set(answers) <= {"refused", "silent"}
    seen = {name: {name} for name in hosts}
    for (one, other), answer in zip(pairs, answers, strict=True):
        if answer == "refused":
            seen[one].add(other)
    return {name: frozenset(others) for name, others in seen.items()}


async def test_everybody_sees_a_majority_of_its_own(hosts: dict[str, TestHost]) -> None:
    everybody = frozenset(hosts)
    assert set((await reached(hosts)).values()) == {everybody}, "the control"
    section = PartitionSection(partition=PartitionPreset.MAJORITIES_RING)
    cuts = resolve_cuts(section, Roles(tuple(hosts), "h1", ()), random.Random(1))
    members = [one.host for one in hosts.values()]
    async with AsyncExitStack() as connected:
        agents = {
            name: await connected.enter_async_context(one.agent.client()) for name, one in hosts.items()
        }
        scene = Scene("run", 1, members, agents, EventBus(), RunClock(), Path("inventory"), Path("scripts"))
        async with CaseFault(section, "c", scene) as fault:
            await fault.inject(tuple(cuts), cuts=cuts)
            assert fault.targets == tuple(hosts), "each drops something"
            seen = await reached(hosts)
            assert {len(majority) for majority in seen.values()} == {3}
            assert len(set(seen.values())) == 5, "no two see the same"
            assert all(one in seen[other] for one in hosts for other in seen[one]), "both ways"
            await fault.heal()
    assert set((await reached(hosts)).values()) == {everybody}
    assert {one.run("nft", "list", "ruleset") for one in hosts.values()} == {""}
