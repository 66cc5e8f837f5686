"""The clients of each kind of stresser, and their work."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from tester.load.contenders import Contender, Contending, ContestKind
from tester.load.crowd import Crowd, CrowdMix
from tester.load.keys import KeySpace
from tester.load.leases import LeaseSource
from tester.load.listing import Listing
from tester.load.listwatch import ListWatch
from tester.load.operations import OperationSource
from tester.load.pacer import Pacer
from tester.load.presets import mix_of, mix_of_leases
from tester.load.renewers import Renewer
from tester.recipes.contest import Contest
from tester.scenario.stressers import (
    ElectionStresser,
    KvStresser,
    LeaseStresser,
    LockStresser,
    RenewerStresser,
    WatcherStresser,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.history.writer import Recorder
    from tester.load.client import Client
    from tester.load.share import Share
    from tester.scenario.stressers import Stresser


@dataclass(frozen=True, slots=True)
class Ground:
    """What the load gives to a stresser's clients."""

    prefix: str
    """Of every key of the stresser."""
    endpoints: Mapping[str, Endpoint]
    pacer: Pacer
    absent: Collection[str]
    """Who is no member now."""
    clock: RunClock
    recorder: Recorder
    value_ids: Iterator[int]
    lease_ids: Iterator[int]
    watcher_numbers: Iterator[int]
    rounds: int | None
    writing_seconds: float | None
    """Of each round of a crowd; ``None``: until all is written."""
    step: Callable[[], None]
    member: Callable[[], str]
    """Whom the next client asks."""
    client: Callable[[int, str], Client | None]
    """The client at a place, of a member; ``None``: it is in another process."""
    keeper: Callable[[int, str], Client | None]
    """Likewise, one that renews leases, also while the load is paused."""
    rng: Callable[[int], Random]
    """The generator of the client at a place."""


Crew: TypeAlias = "Iterator[tuple[Client, Coroutine[Any, Any, None]]]"


def pacer_of(stresser: Stresser, share: Share) -> Pacer:
    """What keeps a stresser's clients to their rate, all of this process together."""
    match stresser:
        case KvStresser():
            return Pacer(share.of_rate(stresser.rate, stresser.clients), stresser.arrivals)
        case RenewerStresser():
            return Pacer(None)
        case WatcherStresser():
            return Pacer(share.of_rate(stresser.rate, 1))
        case _:
            return Pacer(share.of_rate(stresser.rate, stresser.clients))


def crew_of(stresser: Stresser, ground: Ground) -> Crew:
    """Each client of a stresser with its work."""
    match stresser:
        case KvStresser():
            yield from _kv_clients(stresser, ground)
        case LeaseStresser():
            yield from _lease_clients(stresser, ground)
        case LockStresser() | ElectionStresser():
            yield from _contenders(stresser, ground)
        case WatcherStresser():
            yield from _crowd(stresser, ground)
        case RenewerStresser():
            yield from _renewers(stresser, ground)


def _kv_clients(stresser: KvStresser, ground: Ground) -> Crew:
    mix = mix_of(stresser)
    for place in range(stresser.clients):
        client = ground.client(place, stresser.member or ground.member())
        if client is not None:
            source = OperationSource(
                mix, ground.prefix, ground.rng(place), ground.value_ids, ground.lease_ids
            )
            yield client, client.run(source, ground.pacer)
    for place in range(mix.list_watchers):
        client = ground.client(place, stresser.member or ground.member())
        if client is None:
            continue
        # Keys are not drawn from this space: a list has all of them.
        space = KeySpace(ground.prefix, mix.keys, mix.distribution, Random(0))  # noqa: S311
        lister = ListWatch(
            client,
            next(ground.watcher_numbers),
            ground.endpoints[client.member],
            ground.recorder,
            ground.clock,
            ground.absent,
            space,
            Listing(space, mix.page_keys),
            place,
        )
        yield client, lister.run()


def _lease_clients(stresser: LeaseStresser, ground: Ground) -> Crew:
    mix = mix_of_leases(stresser)
    for place in range(stresser.clients):
        client = ground.client(place, ground.member())
        if client is None:
            continue
        source = LeaseSource(
            mix,
            f"{ground.prefix}{place}/",
            ground.rng(place),
            ground.value_ids,
            ground.lease_ids,
            time.monotonic,
        )
        yield client, client.run(source, ground.pacer)


def _contenders(stresser: LockStresser | ElectionStresser, ground: Ground) -> Crew:
    shared = Contending(
        kind=ContestKind(stresser.kind),
        contest=Contest(f"{ground.prefix}queue/"),
        guard=f"{ground.prefix}guard",
        ttl=math.ceil(stresser.ttl),
        rounds=ground.rounds,
        pacer=ground.pacer,
        clock=ground.clock,
        recorder=ground.recorder,
        value_ids=ground.value_ids,
        lease_ids=ground.lease_ids,
        step=ground.step,
    )
    for place in range(stresser.clients):
        member = ground.member()
        client, keeper = ground.client(place, member), ground.keeper(place, member)
        if client is None or keeper is None:
            continue
        contender = Contender(shared, client, keeper, ground.endpoints[member], ground.rng(place))
        yield client, contender.run()


def _crowd(stresser: WatcherStresser, ground: Ground) -> Crew:
    mix = CrowdMix(stresser.prefixes, stresser.watchers, stresser.keys, ground.rounds, ground.writing_seconds)
    client = ground.client(0, ground.member())
    if client is None:
        return
    crowd = Crowd(
        mix,
        ground.prefix,
        client,
        tuple(ground.endpoints.values()),
        ground.watcher_numbers,
        ground.value_ids,
        ground.pacer,
        ground.clock,
        ground.recorder,
        ground.step,
        ground.absent,
    )
    yield client, crowd.run()


def _renewers(stresser: RenewerStresser, ground: Ground) -> Crew:
    for place in range(stresser.clients):
        member = ground.member()
        client, keeper = ground.client(place, member), ground.keeper(place, member)
        if client is None or keeper is None:
            continue
        ttl, ids = math.ceil(stresser.ttl), ground.lease_ids
        renewer = Renewer(client, keeper, ground.pacer, ttl, ids, ground.step, ground.rounds)
        yield client, renewer.run()
