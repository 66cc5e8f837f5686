"""A worker on a load host as the tester drives it: what agents may answer, and what becomes of it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agent_client.client import AgentClient
from agent_client.errors import AgentRefusedError, AgentUnreachableError
from agent_service.models import HostClock, LoadMessages, LoadRequest, LoadWorkerStatus, Problem
from tester.clock import RunClock
from tester.errors import LoadError
from tester.etcd.endpoint import Endpoint
from tester.events import EventBus, Notice
from tester.history.parts import part_of
from tester.history.reader import read_history
from tester.history.records import ClockRecord, HistoryRecord, Invoke, Ok, Put
from tester.load.hosts import worker as hosted
from tester.load.hosts.loadhost import LoadHost
from tester.load.hosts.worker import HostedWorker
from tester.load.share import Share
from tester.load.workers.gathered import Gathered
from tester.load.workers.messages import Message, Order, Paused, Report
from tester.scenario.stressers import KvStresser
from tests.unit.load.encoded import lines
from tests.unit.load.test_part_file import full_after

if TYPE_CHECKING:
    from pathlib import Path

AHEAD = 864_000 * 10**9
REPORT = Report(1, 0, 0, 0.0, [], [], None, [])


class Agent(AgentClient):
    """Holds one worker in memory; its clock is ten days ahead."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self.boot_id, self.jump = "b", 0
        self.requests: list[LoadRequest] = []
        self.said: list[str] = []
        self.history = b""
        self.running, self.end = False, ""
        self.silent = False
        self.dropped = 0
        self.asked: list[str] = []

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.silent:
            raise AgentUnreachableError("nobody there")

    def now(self) -> int:
        return self._clock.now() + AHEAD + self.jump

    def say(self, message: Message) -> None:
        self.said.append(msgspec.json.encode(message).decode())

    async def clock(self) -> HostClock:
        self._answer("clock")
        return HostClock(boot_id=self.boot_id, monotonic_ns=self.now(), realtime_ns=0)

    async def start_load(self, worker_id: str, request: LoadRequest) -> LoadWorkerStatus:
        self._answer("start")
        self.requests.append(request)
        self.running = True
        self.say(REPORT)
        return self.status()

    def status(self) -> LoadWorkerStatus:
        return LoadWorkerStatus(
            id="w", running=self.running, pid=1, end=self.end, history_bytes=len(self.history)
        )

    async def load_messages(self, worker_id: str, after: int, wait_seconds: float) -> LoadMessages:
        self._answer("messages")
        await asyncio.sleep(0.005)
        first = max(after, self.dropped)
        said = tuple(self.said[first:])
        return LoadMessages(first=first, next=first + len(said), lines=said, status=self.status())

    async def load_history(self, worker_id: str, offset: int) -> bytes:
        self._answer("history")
        return self.history[offset : offset + 50]

    async def pause_load(self, worker_id: str) -> LoadWorkerStatus:
        self._answer("pause")
        self.say(Paused())
        return self.status()

    async def resume_load(self, worker_id: str) -> LoadWorkerStatus:
        self._answer("resume")
        return self.status()

    async def stop_load(self, worker_id: str) -> LoadWorkerStatus:
        self._answer("stop")
        self.running, self.end = False, "status 0"
        return self.status()

    async def remove_load(self, worker_id: str) -> None:
        self._answer("remove")


class Bench:
    def __init__(self, history: Path) -> None:
        self.clock, self.bus = RunClock(), EventBus()
        self.records: list[HistoryRecord] = []
        self.notices: list[str] = []
        self.bus.subscribe(
            lambda event: self.notices.append(event.text) if isinstance(event, Notice) else None
        )
        self.agent = Agent(self.clock)
        self.host = LoadHost("node4", self.agent, self.clock, self, self.bus)
        self.part = part_of(history, 1)
        order = Order(
            (KvStresser(kind="kv"),),
            (Endpoint("m1", "127.0.0.1", 1),),
            self.clock,
            1,
            "p/",
            Share(0, 1),
            self.part,
            over_grpc=False,
        )
        self.gathered = Gathered()
        self.worker = HostedWorker("load worker 1 on node4", "w", order, self.host, self.gathered)

    def write(self, record: HistoryRecord) -> None:
        """What goes into the tester's own history."""
        self.records.append(record)

    @property
    def clocks(self) -> list[ClockRecord]:
        return [record for record in self.records if isinstance(record, ClockRecord)]

    async def until_dead(self) -> str:
        async with asyncio.timeout(60):
            while True:
                try:
                    self.worker.check()
                except LoadError as error:
                    return error.message
                await asyncio.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(hosted, "_SILENT_SECONDS", 0.3)
    monkeypatch.setattr(hosted, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(hosted, "_FETCH_SECONDS", 0.02)
    return Bench(tmp_path / "history.jsonl")


async def test_from_start_to_stop(bench: Bench) -> None:
    await bench.worker.start()
    assert bench.gathered.totals().ok == 1
    before = bench.clock.now()
    invoke = Invoke(1, bench.agent.now(), 1, "m1", Put("k", "1:9"))
    await asyncio.sleep(0.01)
    bench.agent.history = lines(invoke, Ok(1, bench.agent.now(), 7))
    after = bench.clock.now()
    await bench.worker.pause(10)
    found = list(read_history(bench.part))
    assert [type(record) for record in found] == [Invoke, Ok]
    assert 0 < found[0].at <= before + 10_000_000  # type: ignore[union-attr]
    assert found[1].at >= after - 10_000_000  # type: ignore[union-attr]
    await bench.worker.resume()
    await bench.worker.stop()
    await bench.worker.stop()
    assert [what for what in bench.agent.asked if what not in {"clock", "messages", "history"}] == [
        "start", "pause", "resume", "stop", "remove",
    ]  # fmt: skip
    assert bench.agent.requests[0].lease_seconds == hosted.LEASE_SECONDS
    assert len(bench.clocks) >= 3
    assert all(not record.lost and record.error > 0 for record in bench.clocks)
    (told,) = bench.notices
    assert told.startswith("load host node4: its clock less the run clock is +86")
    bench.worker.check()


async def test_one_that_ends_is_told_by_its_name(bench: Bench) -> None:
    await bench.worker.start()
    bench.agent.running, bench.agent.end = False, "signal 9"
    assert await bench.until_dead() == "load worker 1 on node4 ended: signal 9"
    with pytest.raises(LoadError, match="signal 9"):
        await bench.worker.pause(1)
    await bench.worker.stop()


async def test_a_full_disk_ends_the_load_and_leaves_whole_lines(bench: Bench) -> None:
    await bench.worker.start()
    kept = lines(Invoke(1, bench.agent.now(), 1, "m1", Put("k", "1:9")))
    bench.agent.history = kept
    await bench.worker.pause(10)
    with full_after(30, bench.part):
        bench.agent.history += lines(*(Ok(n, bench.agent.now(), n) for n in range(2, 200)))
        assert "cannot be written: File too large" in await bench.until_dead()
    bench.agent.history += lines(Ok(1, bench.agent.now(), 7))
    await bench.worker.stop()
    assert [type(record) for record in read_history(bench.part)] == [Invoke]
    assert bench.part.read_bytes().endswith(b"\n")


async def test_an_agent_may_be_away_for_a_moment_and_no_longer(bench: Bench) -> None:
    await bench.worker.start()
    bench.agent.silent = True
    await asyncio.sleep(0.05)
    bench.agent.silent = False
    await asyncio.sleep(0.05)
    bench.worker.check()
    bench.agent.silent = True
    assert await bench.until_dead() == "load worker 1 on node4: nobody there"
    await bench.worker.stop()
    assert "it ends by itself, and is cleaned up" in bench.notices[-1]


async def test_reports_that_were_not_heard_are_missed(bench: Bench) -> None:
    await bench.worker.start()
    bench.agent.said += [msgspec.json.encode(REPORT).decode()] * 10
    bench.agent.dropped = len(bench.agent.said) - 1
    assert "reports are lost" in await bench.until_dead()
    await bench.worker.stop()


@pytest.mark.parametrize(
    ("said", "written", "why"),
    [
        ('{"type":"nonsense"}', b"", "says what nobody understands"),
        ("not json", b"", "says what nobody understands"),
        ("", b'{"t":"ok","id":"x"}\n', "what it wrote is no history"),
        ("", b'{"t":"header"}\n', "what it wrote is no history"),
    ],
)
async def test_nonsense_from_a_host_is_an_error_of_the_load(
    bench: Bench, said: str, written: bytes, why: str
) -> None:
    await bench.worker.start()
    bench.agent.said += [said] if said else []
    bench.agent.history = written
    message = await bench.until_dead()
    assert message.startswith("load worker 1 on node4")
    assert why in message
    await bench.worker.stop()


@pytest.mark.parametrize(
    ("what", "said"), [("load_history", "its history comes no more"), ("load_messages", "is heard no more")]
)
async def test_a_defect_on_the_way_ends_the_load(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    async def broken(*_: object) -> bytes:
        raise IndexError("list index out of range")

    await bench.worker.start()
    monkeypatch.setattr(bench.agent, what, broken)
    assert said in await bench.until_dead()
    with pytest.raises(IndexError) if what == "load_history" else nullcontext():
        await bench.worker.stop()


async def test_a_host_that_boots_or_stands_still(bench: Bench) -> None:
    await bench.worker.start()
    bench.agent.jump = -5 * 10**9  # suspended: its clock stood still
    async with asyncio.timeout(60):
        while not any(record.lost for record in bench.clocks):  # noqa: ASYNC110 - it is looked at
            await asyncio.sleep(0.01)
    assert any("its clock cannot be followed" in notice for notice in bench.notices)
    await bench.worker.pause(10)  # the load goes on: it is the verdicts that are unknown
    assert bench.clocks[-1].lost
    bench.agent.boot_id = "c"
    assert await bench.until_dead() == "load host node4 was booted anew, and its load is gone"
    await bench.worker.stop()


async def test_an_agent_that_refuses_says_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any) -> LoadWorkerStatus:
        raise AgentRefusedError("503: this host can hold no load", Problem(title="t", status=503, detail="d"))

    monkeypatch.setattr(bench.agent, "start_load", refuse)
    with pytest.raises(LoadError, match="load worker 1 on node4: 503: this host can hold no load"):
        await bench.worker.start()
    await bench.worker.stop()
    assert "stop" not in bench.agent.asked
