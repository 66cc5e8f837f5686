"""A load on real members, recorded and judged as in a round."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.reader import read_history
from tester.history.records import FORMAT_VERSION, Header, LeaderRecord
from tester.history.writer import HistoryWriter
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.load.watcher import Watcher
from tester.roundlog import RoundLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tester.results import CheckResult
    from tester.scenario.stressers import Stresser
    from tests.etcd.inside.conftest import Bench

PREFIX = "load/"


@dataclass
class Recorded:
    """A load that runs until it is judged."""

    bench: Bench
    load: Load
    watchers: list[Watcher]
    writer: HistoryWriter

    async def until_ok(self, more: int) -> None:
        wanted = self.load.totals().ok + more
        async with asyncio.timeout(60):
            while self.load.totals().ok < wanted:
                self.load.check_alive()
                await asyncio.sleep(0.02)

    async def judge(self, *names: str) -> tuple[History, dict[str, CheckResult]]:
        """Stop; what the checkers say."""
        await self.load.pause()
        revision = await self.load.mark(20)
        assert all([await watcher.caught_up(revision, 30) for watcher in self.watchers])
        self.load.check_alive()
        await self.load.stop()
        for watcher in self.watchers:
            await watcher.stop()
        await self.writer.close()
        history = History(read_history(self.writer.path))
        end = EndState(self.bench.clock.now(), {})
        return history, {result.checker: result for result in run_checkers(names, history, end)}


@asynccontextmanager
async def recorded(
    bench: Bench, path: Path, stressers: Sequence[Stresser], *, over_grpc: bool = False
) -> AsyncIterator[Recorded]:
    writer = HistoryWriter(path)
    members = tuple(bench.cluster.names)
    writer.write(Header(FORMAT_VERSION, "run", 1, "test", 1, 0, PREFIX, members))
    connect = channels_of(writer, over_grpc=over_grpc)
    load = Load(stressers, bench.cluster.endpoints, writer, bench.clock, 1, PREFIX, connect=connect)
    watchers = [
        Watcher(n, e, writer, bench.clock, PREFIX, 1) for n, e in enumerate(bench.cluster.endpoints, 1)
    ]
    with bench.bus.listening(RoundLog(writer)):
        view = bench.monitor.view()
        assert view.leader is not None
        writer.write(LeaderRecord(bench.clock.now(), view.leader, view.term))
        try:
            for watcher in watchers:
                await watcher.start()
            await load.start()
            yield Recorded(bench, load, watchers, writer)
        finally:
            await load.stop()
            for watcher in watchers:
                await watcher.stop()
            await writer.close()
