"""The clients of stressers that do more than ask one thing after the other."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tester.load.contenders import Contender, Contending, ContestKind
from tester.load.crowd import Crowd, CrowdMix
from tester.load.leases import LeaseSource
from tester.load.presets import mix_of_leases
from tester.load.renewers import Renewer
from tester.recipes.contest import Contest
from tester.scenario.stressers import (
    ElectionStresser,
    LeaseStresser,
    LockStresser,
    RenewerStresser,
    WatcherStresser,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from random import Random

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.history.writer import Recorder
    from tester.load.client import Client
    from tester.load.pacer import Pacer
    from tester.scenario.stressers import RecipeStresser


@dataclass(frozen=True, slots=True)
class Ground:
    """What the load gives to a stresser's clients."""

    prefix: str
    """Of every key of the stresser."""
    endpoints: Mapping[str, Endpoint]
    pacer: Pacer
    gate: asyncio.Event
    clock: RunClock
    recorder: Recorder
    value_ids: Iterator[int]
    lease_ids: Iterator[int]
    watcher_numbers: Iterator[int]
    rounds: int | None
    step: Callable[[], None]
    member: Callable[[], str]
    """Whom the next client asks."""
    client: Callable[[str], Client]
    """A client of a member."""
    keeper: Callable[[str], Client]
    """One that renews leases, also while the load is paused."""
    rng: Callable[[int], Random]
    """The generator of the client at a place."""


def crew_of(stresser: RecipeStresser, ground: Ground) -> Iterator[tuple[Client, Coroutine[Any, Any, None]]]:
    """Each client of a stresser with its work."""
    match stresser:
        case LeaseStresser():
            yield from _lease_clients(stresser, ground)
        case LockStresser() | ElectionStresser():
            yield from _contenders(stresser, ground)
        case WatcherStresser():
            yield _crowd(stresser, ground)
        case RenewerStresser():
            yield from _renewers(stresser, ground)


def _lease_clients(
    stresser: LeaseStresser, ground: Ground
) -> Iterator[tuple[Client, Coroutine[Any, Any, None]]]:
    mix = mix_of_leases(stresser)
    for place in range(stresser.clients):
        client = ground.client(ground.member())
        source = LeaseSource(
            mix,
            f"{ground.prefix}{place}/",
            ground.rng(place),
            ground.value_ids,
            ground.lease_ids,
            time.monotonic,
        )
        yield client, client.run(source, ground.pacer)


def _contenders(
    stresser: LockStresser | ElectionStresser, ground: Ground
) -> Iterator[tuple[Client, Coroutine[Any, Any, None]]]:
    shared = Contending(
        kind=ContestKind(stresser.kind),
        contest=Contest(f"{ground.prefix}queue/"),
        guard=f"{ground.prefix}guard",
        ttl=math.ceil(stresser.ttl),
        rounds=ground.rounds,
        pacer=ground.pacer,
        gate=ground.gate,
        clock=ground.clock,
        recorder=ground.recorder,
        value_ids=ground.value_ids,
        lease_ids=ground.lease_ids,
        step=ground.step,
    )
    for place in range(stresser.clients):
        member = ground.member()
        client, keeper = ground.client(member), ground.keeper(member)
        contender = Contender(shared, client, keeper, ground.endpoints[member], ground.rng(place))
        yield client, contender.run()


def _crowd(stresser: WatcherStresser, ground: Ground) -> tuple[Client, Coroutine[Any, Any, None]]:
    mix = CrowdMix(stresser.prefixes, stresser.watchers, stresser.keys, ground.rounds)
    client = ground.client(ground.member())
    crowd = Crowd(
        mix,
        ground.prefix,
        client,
        tuple(ground.endpoints.values()),
        ground.watcher_numbers,
        ground.value_ids,
        ground.pacer,
        ground.gate,
        ground.clock,
        ground.recorder,
        ground.step,
    )
    return client, crowd.run()


def _renewers(
    stresser: RenewerStresser, ground: Ground
) -> Iterator[tuple[Client, Coroutine[Any, Any, None]]]:
    for _ in range(stresser.clients):
        member = ground.member()
        client, keeper = ground.client(member), ground.keeper(member)
        renewer = Renewer(client, keeper, ground.gate, math.ceil(stresser.ttl), ground.lease_ids, ground.step)
        yield client, renewer.run()
