"""A load through lying proxies, as a run does it: clients, watchers, end state, verdicts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from tester.checkers import CHECKERS, run_checkers
from tester.clock import RunClock
from tester.etcd.client import EtcdClient
from tester.etcd.endpoint import Endpoint
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.monitor import ClusterMonitor
from tester.etcd.watch import View
from tester.events import EventBus
from tester.evidence import Witness
from tester.history.loading import load_history
from tester.history.records import Header
from tester.history.writer import HistoryWriter
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.load.watcher import Watcher
from tester.roundlog import RoundLog
from tester.scenario.stressers import Stresser
from tests.lies.loads import section_of
from tests.lies.proxy import Lie, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from tester.results import CheckResult
    from tests.lies.loads import Weights

OPERATIONS = 250
MORE = 60
"""After a lie, where operations wait for each other: so many take a while."""
MOST_OPERATIONS = 2000
"""When a lie that finds no occasion is given up."""

_PATIENCE = 60.0
_STRESSER = TypeAdapter[Stresser](Stresser)
_VIEWS = (View(), View(prev_kv=True), View(fragment=True))


class NoExits:
    """No agents: nobody knows of exits."""

    exits = ()

    def __init__(self, members: Sequence[str]) -> None:
        self.silent = set(members)

    async def poll_now(self) -> None:
        """Nothing to ask."""


@dataclass
class Story:
    """Loads on one cluster, one after the other, each with keys of its own, a history and verdicts."""

    endpoints: Sequence[Endpoint]
    directory: Path
    members: Sequence[Endpoint]
    """The same as they are: who leads is asked of them."""
    value_ids: Iterator[int] = field(default_factory=lambda: count(1))
    number: int = 0

    async def judged(
        self, name: str, load: Weights, during: Callable[[Load], Awaitable[None]]
    ) -> dict[str, CheckResult]:
        """Load while ``during`` runs; every checker's verdict."""
        self.number += 1
        prefix = f"load{self.number}/"
        path = self.directory / f"{self.number}.jsonl"
        clock, writer = RunClock(), HistoryWriter(path)
        names = tuple(endpoint.member for endpoint in self.endpoints)
        writer.write(Header(1, "story", 1, name, 1, 0, prefix, names))
        loading = Load(
            *(
                [_STRESSER.validate_python(section_of(load))],
                self.endpoints,
                writer,
                clock,
                self.number,
                prefix,
            ),
            value_ids=self.value_ids,
            connect=channels_of(writer, over_grpc=False),
        )
        start = await _newest(self.endpoints[0]) + 1
        places = [*zip(self.endpoints, _VIEWS, strict=True), (self.endpoints[1], View(filters=("put",)))]
        watchers = [
            Watcher(number, endpoint, writer, clock, prefix, start, view=view)
            for number, (endpoint, view) in enumerate(places)
        ]
        witness = Witness(self.endpoints, names, clock, NoExits(names), prefix)
        bus = EventBus()
        bus.subscribe(RoundLog(writer))
        monitor = ClusterMonitor(self.members, clock, bus)
        try:
            await monitor.start()
            await monitor.wait_leader(_PATIENCE)
            for watcher in watchers:
                await watcher.start()
            await loading.start()
            await during(loading)
            await loading.pause()
            revision = await loading.mark(10)
            # The watcher of deletions alone never hears of the mark, and others may have been lied to.
            await asyncio.gather(*(watcher.caught_up(revision, 2) for watcher in watchers[:3]))
            end = await witness.testify(revision)
        finally:
            await loading.stop()
            await monitor.stop()
            for watcher in watchers:
                await watcher.stop()
            await witness.close()
            await writer.close()
        end.save(path.with_suffix(".end.json"))
        return {result.checker: result for result in run_checkers(CHECKERS, load_history(path), end)}


async def until_ok(loading: Load, number: Callable[[], int]) -> None:
    """Wait for so many operations since the start."""
    async with asyncio.timeout(_PATIENCE):
        while loading.totals().ok < number():
            loading.check_alive()
            await asyncio.sleep(0.01)


@dataclass
class Proxied:
    """A cluster behind proxies."""

    proxies: list[Proxy]
    story: Story

    async def tell(self, lie: Lie, load: Weights) -> dict[str, CheckResult]:
        """Load until the lie was told and some more; every checker's verdict."""
        for proxy in self.proxies:
            proxy.lie = lie

        async def told(loading: Load) -> None:
            enough = OPERATIONS
            if type(lie) is not Lie:
                await until_ok(loading, lambda: 0 if lie.told else MOST_OPERATIONS)
                enough = loading.totals().ok + MORE if isinstance(load, str) else OPERATIONS
            await until_ok(loading, lambda: enough)

        return await self.story.judged(type(lie).__name__, load, told)


async def _newest(endpoint: Endpoint) -> int:
    client = EtcdClient(endpoint, GrpcChannel(endpoint))
    revision, _ = await client.get("none")
    await client.close()
    return revision


@asynccontextmanager
async def proxied(members: Sequence[Endpoint], port: int, directory: Path) -> AsyncIterator[Proxied]:
    """Proxies before every member, on the same addresses."""
    proxies = [Proxy(member.member, f"{member.address}:{port}", member.authority) for member in members]
    try:
        for proxy in proxies:
            await proxy.start()
        endpoints = [Endpoint(member.member, member.address, port) for member in members]
        yield Proxied(proxies, Story(endpoints, directory, members))
    finally:
        for proxy in proxies:
            await proxy.stop()
