"""Worker processes that come to an end: told by name, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tester.clock import RunClock
from tester.errors import LoadError
from tester.etcd.endpoint import Endpoint
from tester.history.parts import PartsReader, part_of
from tester.history.records import Invoke
from tester.history.writer import HistoryWriter
from tester.load.engine import Load
from tester.load.share import Share
from tester.load.workers.fleet import LoadFleet
from tester.load.workers.messages import Order
from tester.scenario.stressers import KvStresser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Nobody listens there: every operation fails at once, and is recorded.
NOBODY = (Endpoint("m1", "127.0.0.1", 1),)


def stresser_of(clients: int) -> KvStresser:
    return KvStresser.model_validate({"kind": "kv", "clients": clients, "rate": "50/s"})


def order_of(history: Path, number: int, clients: int = 2) -> Order:
    stressers, share, part = (stresser_of(clients),), Share(number - 1, 2), part_of(history, number)
    return Order(stressers, NOBODY, RunClock(), 1, "p/", share, part, over_grpc=False)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


@pytest.fixture
def clients() -> int:
    return 2


@pytest.fixture
async def fleet(history: Path, clients: int) -> AsyncIterator[LoadFleet]:
    writer = HistoryWriter(history)
    own = Load([stresser_of(clients)], NOBODY, writer, RunClock(), 1, "p/", share=Share.rest(2))
    made = LoadFleet(own, [order_of(history, number, clients) for number in (1, 2)])
    yield made
    await made.stop()
    await writer.close()


async def until_failed(fleet: LoadFleet, wanted: int) -> None:
    async with asyncio.timeout(60):
        while fleet.totals().fail + fleet.totals().info < wanted:
            fleet.check_alive()
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_that_is_killed_is_told_by_its_name(fleet: LoadFleet, history: Path) -> None:
    await fleet.start()
    await until_failed(fleet, 10)
    pid = fleet.workers[1].pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LoadError, match=rf"load worker 2 \(pid {pid}\) died with signal 9"):
        await until_failed(fleet, 10**9)
    with pytest.raises(LoadError, match="load worker 2"):
        await fleet.pause()
    await fleet.stop()
    assert not any(alive(worker.pid) for worker in fleet.workers)
    # what both have written is there, and nobody drew another one's numbers
    asked = [record.id for record in PartsReader(history).read_new() if isinstance(record, Invoke)]
    assert len(set(asked)) == len(asked) >= 10


async def test_a_worker_says_why_it_cannot_go_on(fleet: LoadFleet, history: Path) -> None:
    part_of(history, 1).touch()
    with pytest.raises(LoadError, match=r"load worker 1: cannot create the history .*worker-1.* File exists"):
        await fleet.start()
    with pytest.raises(LoadError, match="load worker 1"):
        fleet.check_alive()


async def test_a_paused_fleet_asks_nothing_until_it_is_resumed(fleet: LoadFleet, history: Path) -> None:
    await fleet.start()
    await until_failed(fleet, 5)
    await fleet.pause()
    size = sum(part_of(history, number).stat().st_size for number in (1, 2))
    await asyncio.sleep(0.2)
    assert sum(part_of(history, number).stat().st_size for number in (1, 2)) == size
    counted = fleet.totals().fail + fleet.totals().info
    await fleet.resume()
    await until_failed(fleet, counted + 5)
    fleet.check_alive()


@pytest.mark.parametrize("clients", [1, 2])
async def test_where_nobody_is_served_there_is_a_gap_also_with_less_clients_than_workers(
    fleet: LoadFleet,
) -> None:
    await fleet.start()
    await until_failed(fleet, 10)
    async with asyncio.timeout(60):
        while not fleet.window(0, 10**15).gaps:
            fleet.check_alive()
            await asyncio.sleep(0.01)


async def test_workers_end_with_their_tester(history: Path) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tester.load.workers.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(order_of(history, 1).encode())
    async with asyncio.timeout(60):
        await worker.stdout.readline()  # it works
        worker.stdin.close()  # as a SIGKILL of the tester does
        await worker.communicate()
    assert worker.returncode == 0
    assert PartsReader(history.with_name("history.worker-1.jsonl")).read_new()
