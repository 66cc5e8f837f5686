from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tester.etcd import watch
from tester.etcd.watch import View
from tester.events import LeaderChanged
from tester.history.reader import read_history
from tester.history.records import (
    Fail,
    HistoryRecord,
    Info,
    Invoke,
    Ok,
    Operation,
    Put,
    Range,
    Txn,
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.history.writer import HistoryWriter
from tester.load import values
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.load.watcher import Watcher
from tester.scenario.stressers import KvStresser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etcd3.etcdrpc import rpc_pb2 as pb

    from tests.etcd.inside.conftest import Bench

PREFIX = "load/"
TRANSPORTS = ("h2", "grpc")


def stresser(**settings: object) -> KvStresser:
    return KvStresser.model_validate(
        {"kind": "kv", "clients": 9, "rate": "400/s", "timeout": "1s", **settings}
    )


def written(op: Operation) -> list[str]:
    if isinstance(op, Put):
        return [op.v]
    if isinstance(op, Txn):
        return [value for inner in (*op.then, *op.orelse) for value in written(inner)]
    return []


def deliveries(records: Sequence[HistoryRecord], watcher: int) -> list[tuple[int, str, str, bool]]:
    return [
        (event.m, event.k, event.v, event.d)
        for record in records
        if isinstance(record, Watched) and record.w == watcher
        for event in record.ev
    ]


def is_never_sent(outcome: HistoryRecord, transport: str) -> bool:
    return transport == "h2" and isinstance(outcome, Fail) and "never sent" in outcome.text


async def until_ok(load: Load, more: int) -> None:
    wanted = load.totals().ok + more
    async with asyncio.timeout(30):
        while load.totals().ok < wanted:
            load.check_alive()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_faults_under_load(bench: Bench, tmp_path: Path, transport: str) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    connect = channels_of(writer, over_grpc=transport == "grpc")
    # So many that of what is in flight to a member, when it is stopped, some is a write.
    many = stresser(clients=30)
    load = Load([many], bench.cluster.endpoints, writer, bench.clock, 1, PREFIX, connect=connect)
    watchers = [Watcher(n, e, writer, bench.clock, PREFIX, 1) for n, e in enumerate(bench.cluster.endpoints)]
    for watcher in watchers:
        await watcher.start()
    await load.start()
    await until_ok(load, 100)

    leader = bench.monitor.view().leader
    assert leader is not None
    killed_at = bench.clock.now()
    await bench.cluster.kill(leader)
    await until_ok(load, 100)
    await bench.monitor.wait_leader(30)
    bench.cluster.start(leader)
    await bench.monitor.wait_serving(30)
    await bench.monitor.wait_writes(30)

    stopped = next(name for name in bench.cluster.names if name != bench.monitor.view().leader)
    paused_at = bench.clock.now()
    bench.cluster.signal(stopped, signal.SIGSTOP)
    try:
        await asyncio.sleep(2.5)
    finally:
        bench.cluster.signal(stopped, signal.SIGCONT)
    resumed_at = bench.clock.now()
    await bench.monitor.wait_serving(30)
    await until_ok(load, 100)

    await load.pause()
    revision = await load.mark(10)
    assert all([await watcher.caught_up(revision, 20) for watcher in watchers])
    load.check_alive()
    await load.stop()
    for watcher in watchers:
        watcher.check_alive()
        await watcher.stop()
    await writer.close()

    records = list(read_history(writer.path))
    operations = {r.id: r for r in records if isinstance(r, Invoke)}
    outcomes = {r.id: r for r in records if isinstance(r, Ok | Fail | Info)}
    assert operations.keys() == outcomes.keys()
    for identifier, outcome in outcomes.items():
        if isinstance(operations[identifier].op, Range):
            assert not isinstance(outcome, Info)
        if isinstance(outcome, Fail) and not isinstance(operations[identifier].op, Range):
            assert outcome.text.startswith("etcdserver: ") or is_never_sent(outcome, transport)

    # the killed and the stopped member left unknown outcomes, and their clients went on afterwards; only our own
    # channel can tell that a member that is down was sent nothing
    unknown = [i for i, outcome in outcomes.items() if isinstance(outcome, Info)]
    unsent = [i for i, outcome in outcomes.items() if is_never_sent(outcome, transport)]
    lost = unsent if transport == "h2" else unknown
    assert any(operations[i].m == leader and operations[i].at > killed_at for i in lost)
    # Of the stopped one, what was in flight: our own channel gives that up, and sends it nothing more.
    assert any(
        operations[i].m == stopped and operations[i].at < resumed_at and paused_at < outcomes[i].at
        for i in unknown
    )
    for member in (leader, stopped):
        assert any(
            isinstance(outcome, Ok) and operations[i].m == member and outcome.at > resumed_at
            for i, outcome in outcomes.items()
        )
    # no call outlived its deadline by much, not even to a member that was stopped
    assert all(outcome.at - operations[i].at < 3_000_000_000 for i, outcome in outcomes.items())

    # every watcher delivered the same log, without gap or repetition, across its reconnections
    logs = [deliveries(records, watcher) for watcher in range(3)]
    assert logs[0] == logs[1] == logs[2]
    assert [m for m, *_ in logs[0]] == sorted(m for m, *_ in logs[0])
    assert len({(m, k) for m, k, *_ in logs[0]}) == len(logs[0])
    names = [e.member for e in bench.cluster.endpoints]
    for member in (leader, stopped):
        number = names.index(member)
        assert sum(isinstance(r, WatchStart) and r.w == number for r in records) >= 2
        assert sum(isinstance(r, WatchEnd) and r.w == number for r in records) >= 2
    # and it holds every acknowledged put, and nothing that nobody asked for
    log = {(m, v) for m, _, v, d in logs[0] if not d}
    for identifier, outcome in outcomes.items():
        op = operations[identifier].op
        if isinstance(outcome, Ok) and isinstance(op, Put):
            assert (outcome.rev, op.v) in log
    asked = {value for operation in operations.values() for value in written(operation.op)}
    refused = {
        value for i, o in outcomes.items() if isinstance(o, Fail) for value in written(operations[i].op)
    }
    assert {v for _, v in log} <= asked - refused
    assert sum(isinstance(e, LeaderChanged) for e in bench.events) >= 2


async def test_a_watcher_reports_what_is_compacted_away(bench: Bench, tmp_path: Path) -> None:
    client = bench.clients["m1"]
    revision = 0
    for number in range(20):
        revision = await client.put(f"{PREFIX}{number % 3}", b"%d:" % (number + 1))
    await client.compact(revision - 4, physical=True)
    writer = HistoryWriter(tmp_path / "history.jsonl")
    watcher = Watcher(0, bench.cluster.endpoints[0], writer, bench.clock, PREFIX, 2)
    await watcher.start()
    assert await watcher.caught_up(revision, 20)
    assert not await watcher.caught_up(revision + 1, 0.05)
    await watcher.stop()
    await writer.close()
    records = [r for r in read_history(writer.path) if not isinstance(r, Watched) or r.ev]
    ends = [r for r in records if isinstance(r, WatchEnd)]
    assert (ends[0].reason, ends[0].compacted) == ("compacted", revision - 4)
    assert [r.rev for r in records if isinstance(r, WatchStart)] == [2, revision - 4]
    assert [m for m, *_ in deliveries(records, 0)] == list(range(revision - 4, revision + 1))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_killed_tester_leaves_no_write_that_it_did_not_announce(
    bench: Bench, tmp_path: Path, transport: str
) -> None:
    path = tmp_path / "history.jsonl"
    tester = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.etcd.inside.tester_process", str(path), PREFIX, transport),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        for _ in range(1500):
            if path.exists() and path.stat().st_size > 100_000:
                break
            await asyncio.sleep(0.02)
    finally:
        tester.kill()
        await tester.wait()
    await bench.monitor.wait_writes(10)
    _, found = await bench.clients["m2"].range_all(PREFIX)
    records = list(read_history(path))
    asked = {value for r in records if isinstance(r, Invoke) for value in written(r.op)}
    assert len(found) > 100
    assert {kv.v for kv in found} <= asked


async def test_fragments_are_put_together(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments: list[bool] = []

    def goes_on(message: pb.WatchResponse) -> bool:
        fragments.append(honest(message))
        return fragments[-1]

    honest = watch._goes_on
    monkeypatch.setattr(watch, "_goes_on", goes_on)
    client = bench.clients["m1"]
    revision = 0
    for number in range(1, 41):
        revision = await client.put(f"{PREFIX}{number}", values.encode(number, 100_000))
    logs = []
    for view in (View(fragment=True, prev_kv=True), View()):
        writer = HistoryWriter(tmp_path / f"{view.fragment}.jsonl")
        watcher = Watcher(0, bench.cluster.endpoints[0], writer, bench.clock, PREFIX, 1, view=view)
        await watcher.start()
        assert await watcher.caught_up(revision, 20)
        await watcher.stop()
        await writer.close()
        logs.append([r.ev for r in read_history(writer.path) if isinstance(r, Watched) and r.ev])
    assert any(fragments)
    assert logs[0] == logs[1]
    assert sum(map(len, logs[0])) == 40
