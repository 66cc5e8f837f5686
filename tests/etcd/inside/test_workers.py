"""Load in processes of its own against real members: judged as one history; a worker that dies is told by name."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tester.checkers import run_checkers
from tester.errors import LoadError
from tester.history.endstate import EndState, MemberEnd
from tester.history.history import History
from tester.history.parts import PartsReader, files_of, join_parts, part_of
from tester.history.records import FORMAT_VERSION, Header, Invoke, Put
from tester.history.writer import HistoryWriter
from tester.load.engine import Load
from tester.load.share import Share
from tester.load.watcher import Watcher
from tester.load.workers.fleet import LoadFleet
from tester.load.workers.messages import Order
from tester.results import Verdict
from tester.scenario.stressers import KvStresser

if TYPE_CHECKING:
    from pathlib import Path

    from tests.etcd.inside.conftest import Bench

PREFIX = "load/"
WORKERS = 2


def fleet_of(bench: Bench, writer: HistoryWriter) -> LoadFleet:
    stresser = KvStresser.model_validate({"kind": "kv", "preset": "register", "clients": 9, "rate": "600/s"})
    members = tuple(bench.cluster.endpoints)
    own = Load([stresser], members, writer, bench.clock, 1, PREFIX, share=Share.rest(WORKERS))
    orders = [
        Order(
            (stresser,),
            members,
            bench.clock,
            1,
            PREFIX,
            Share(number, WORKERS),
            part_of(writer.path, number + 1),
            over_grpc=False,
        )
        for number in range(WORKERS)
    ]
    return LoadFleet(own, orders)


async def until_ok(fleet: LoadFleet, wanted: int) -> None:
    async with asyncio.timeout(30):
        while fleet.totals().ok < wanted:
            fleet.check_alive()
            await asyncio.sleep(0.02)


async def test_workers_write_one_history(bench: Bench, tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    writer.write(Header(FORMAT_VERSION, "test", 1, "test", 1, 0, PREFIX, tuple(bench.cluster.names)))
    fleet = fleet_of(bench, writer)
    watchers = [Watcher(n, e, writer, bench.clock, PREFIX, 1) for n, e in enumerate(bench.cluster.endpoints)]
    for watcher in watchers:
        await watcher.start()
    await fleet.start()
    await until_ok(fleet, 200)
    await fleet.pause()
    counted = fleet.totals().ok
    reader, history = PartsReader(writer.path), History()
    writer.flush()
    history.extend(reader.read_new())
    assert len(history.operations) == counted
    await fleet.resume()
    await until_ok(fleet, counted + 200)
    await fleet.pause()
    stats = fleet.window(0, bench.clock.now() + 10**9)
    assert stats.ok == fleet.totals().ok
    assert stats.p99 is not None
    revision = await fleet.mark(10)
    assert all([await watcher.caught_up(revision, 20) for watcher in watchers])
    ends = {}
    for name, client in bench.clients.items():
        _, content = await client.range_all(PREFIX, revision)
        ends[name] = MemberEnd(revision=revision, hash_revision=revision, content=content)
    end = EndState(bench.clock.now(), ends)
    await fleet.stop()
    for watcher in watchers:
        await watcher.stop()
    await writer.close()

    parted = PartsReader(writer.path).read_new()
    history.extend(reader.read_new())
    checks = run_checkers(["linearizable", "watch"], history, end)
    assert {check.checker: check.verdict for check in checks} == {
        "linearizable": Verdict.VALID,
        "watch": Verdict.VALID,
    }
    assert len(files_of(writer.path)) == 1 + WORKERS
    await asyncio.to_thread(join_parts, writer.path)
    assert files_of(writer.path) == (writer.path,)
    joined = PartsReader(writer.path).read_new()
    assert Counter(map(repr, joined)) == Counter(map(repr, parted))
    assert isinstance(joined[0], Header)
    asked = [record for record in joined if isinstance(record, Invoke)]
    assert len({record.id for record in asked}) == len(asked)
    assert {record.c for record in asked} == set(range(10))  # nine clients, and the mark
    written = [record.op.v for record in asked if isinstance(record.op, Put)]
    assert len(set(written)) == len(written)


async def test_a_worker_that_dies_is_told_by_its_name(bench: Bench, tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    fleet = fleet_of(bench, writer)
    await fleet.start()
    await until_ok(fleet, 50)
    pids = [worker.pid for worker in fleet.workers]
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(LoadError, match=rf"load worker 2 \(pid {pids[1]}\) died with signal 9"):
        await until_ok(fleet, 10**9)
    with pytest.raises(LoadError, match="load worker 2"):
        await fleet.pause()
    await fleet.stop()
    await writer.close()
    assert PartsReader(writer.path).read_new()  # what the dead one wrote is there


async def test_a_worker_says_why_it_cannot_go_on(bench: Bench, tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    fleet = fleet_of(bench, writer)
    part_of(writer.path, 1).touch()
    await fleet.start()
    with pytest.raises(LoadError, match=r"load worker 1: cannot create the history .*worker-1.* File exists"):
        await until_ok(fleet, 10**9)
    await fleet.stop()
    await writer.close()
