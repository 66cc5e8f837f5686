"""Who watches beside the clients, without etcd: in which ways, and what a crowd waits for."""

from __future__ import annotations

import asyncio
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import pytest

from tester.clock import RunClock
from tester.etcd.codec import Answer
from tester.history.records import Delete, DeleteResult, Invoke, Put, Range, RangeResult
from tester.load import crowd as crowd_module
from tester.load import listwatch
from tester.load.crowd import Crowd, CrowdMix
from tester.load.engine import Load
from tester.load.keys import KeySpace
from tester.load.kinds import KeyDistribution
from tester.load.listing import Listing
from tester.load.listwatch import ListWatch
from tester.load.pacer import Pacer
from tester.load.views import VIEWS
from tester.scenario.stressers import KvStresser
from tests.unit.load.fakes import ENDPOINTS, Member, Sink, connect_to

if TYPE_CHECKING:
    from collections.abc import Collection

    from tester.etcd.codec import LoadOperation
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.watch import View


class FakeWatcher:
    """Has always been told of everything; those of ``deaf`` members never are."""

    made: ClassVar[list[FakeWatcher]] = []
    deaf: ClassVar[set[str]] = set()

    def __init__(
        self,
        number: int,
        endpoint: Endpoint,
        recorder: object,
        clock: object,
        prefix: str,
        revision: int,
        *,
        end: str | None = None,
        view: View,
        absent: Collection[str] = (),
    ) -> None:
        self.absent = absent
        self.endpoint, self.view, self.start_revision = endpoint, view, revision
        self.waited_for = 0
        self.stopped = False
        self.made.append(self)

    async def start(self) -> None: ...

    async def cancel(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def check_alive(self) -> None: ...

    @property
    def is_absent(self) -> bool:
        return self.endpoint.member in self.absent

    async def caught_up(self, revision: int, timeout: float) -> bool:
        await asyncio.sleep(0)
        self.waited_for = revision
        return self.endpoint.member not in self.deaf


class FakeClient:
    """A store that counts revisions; deletes are answered as the script says, then done."""

    def __init__(self, *deletes: int | None) -> None:
        self.deletes = list(deletes)
        self.revision = 1
        self.changes: list[tuple[int, LoadOperation]] = []

    async def turn(self, pacer: Pacer) -> int:
        return 0

    async def perform(self, op: LoadOperation, late_ns: int = 0) -> Answer | None:
        if isinstance(op, Range):
            return Answer(self.revision, 1, RangeResult((), 0))
        answered = self.deletes.pop(0) if isinstance(op, Delete) and self.deletes else 1
        if answered != 0:
            self.revision += 1
            self.changes.append((self.revision, op))
        if answered is None:
            return None
        return Answer(self.revision, 1, DeleteResult(answered) if isinstance(op, Delete) else None)


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeWatcher.made, FakeWatcher.deaf = [], set()
    for module in (crowd_module, listwatch):
        monkeypatch.setattr(module, "Watcher", FakeWatcher)
    monkeypatch.setattr(crowd_module, "_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(listwatch, "_WATCH_SECONDS", 0.0)


def crowd_of(
    client: FakeClient, mix: CrowdMix, absent: Collection[str] = (), steps: list[int] | None = None
) -> Crowd:
    told = [] if steps is None else steps
    return Crowd(
        *(mix, "p/", client, ENDPOINTS, count(), count(1)),  # type: ignore[arg-type]
        *(Pacer(None), RunClock(), Sink(), lambda: told.append(1), absent),
    )


async def gather(client: FakeClient, mix: CrowdMix, absent: Collection[str] = ()) -> None:
    async with asyncio.timeout(10):
        await crowd_of(client, mix, absent).run()


async def test_each_watcher_of_a_crowd_waits_for_the_last_that_it_is_told() -> None:
    client = FakeClient()
    await gather(client, CrowdMix(prefixes=1, watchers=len(VIEWS), keys=3, rounds=1))
    last_put = max(revision for revision, op in client.changes if isinstance(op, Put))
    ((last_delete, _),) = [one for one in client.changes if isinstance(one[1], Delete)]
    assert last_delete > last_put
    assert {watcher.view for watcher in FakeWatcher.made} == set(VIEWS)
    for watcher in FakeWatcher.made:
        assert watcher.waited_for == (last_put if "delete" in watcher.view.filters else last_delete)


async def test_one_watcher_a_round_comes_to_every_view_on_every_member() -> None:
    rounds = len(VIEWS) * len(ENDPOINTS)
    await gather(FakeClient(), CrowdMix(prefixes=1, watchers=1, keys=1, rounds=rounds))
    assert len({(watcher.endpoint.member, watcher.view) for watcher in FakeWatcher.made}) == rounds


async def test_a_round_writes_no_longer_than_its_time_and_others_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = count()
    monkeypatch.setattr(crowd_module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    client = FakeClient()
    await gather(client, CrowdMix(prefixes=1, watchers=2, keys=1000, rounds=3, writing_seconds=5))
    kinds = [type(op).__name__ for _, op in client.changes]
    assert kinds == [*["Put"] * 4, "Delete"] * 3
    assert len(FakeWatcher.made) == 6
    client = FakeClient()
    await gather(client, CrowdMix(prefixes=1, watchers=2, keys=1000, rounds=1))
    assert len(client.changes) == 1001, "without a bound all of them"


async def test_a_delete_that_was_done_unseen_is_not_waited_for_again() -> None:
    """The second delete finds nothing and makes no event: to wait for one would be for ever."""
    client = FakeClient(None, 0)
    await gather(client, CrowdMix(prefixes=1, watchers=2, keys=1, rounds=1))
    kinds = [type(op).__name__ for _, op in client.changes]
    assert kinds == ["Put", "Delete", "Put", "Delete"]
    (told,) = {watcher.waited_for for watcher in FakeWatcher.made}
    assert told == client.changes[-1][0]


@pytest.mark.parametrize("absent", [set(), {"m3"}, {"m1", "m3"}])
async def test_a_crowd_watches_on_who_is_a_member(absent: set[str]) -> None:
    await gather(FakeClient(), CrowdMix(prefixes=2, watchers=3, keys=4, rounds=1), absent)
    asked = [watcher.endpoint.member for watcher in FakeWatcher.made]
    assert set(asked) == {"m1", "m2", "m3"} - absent
    assert len(asked) == 6
    assert all(watcher.absent is absent for watcher in FakeWatcher.made)


async def test_a_crowd_gives_up_who_watches_on_a_member_that_leaves() -> None:
    absent, steps = set[str](), list[int]()
    FakeWatcher.deaf = {"m2"}
    client = FakeClient()
    crowd = crowd_of(client, CrowdMix(prefixes=1, watchers=3, keys=3, rounds=1), absent, steps)
    running = asyncio.create_task(crowd.run())
    done, _ = await asyncio.wait({running}, timeout=0.2)
    assert not done, "nobody left: who was not told is waited for"
    assert [watcher.stopped for watcher in FakeWatcher.made] == [False, False, False]
    absent.add("m2")
    async with asyncio.timeout(10):
        await running
    assert len(steps) == len(client.changes) + 2, "a watcher that was given up has seen nothing"


@pytest.mark.parametrize("absent", ["", "m3"])
async def test_listers_ask_nobody_that_is_no_member(absent: str) -> None:
    sink = Sink()
    stresser = KvStresser.model_validate({"kind": "kv", "preset": "kubernetes", "clients": 6})
    load = Load(
        *([stresser], ENDPOINTS, sink, RunClock(), 7, "p/"),  # type: ignore[arg-type]
        connect=connect_to({}, Member()),
    )
    if absent:
        load.absent(absent)
    await load.start()
    await asyncio.sleep(0.2)
    await load.stop()
    load.check_alive()
    asked = {record.m for record in sink.records if isinstance(record, Invoke)}
    watched = {watcher.endpoint.member for watcher in FakeWatcher.made}
    assert asked == watched == {"m1", "m2", "m3"} - {absent}


@pytest.mark.parametrize("first", range(3))
async def test_a_lister_watches_in_every_view_in_turn(first: int) -> None:
    space = KeySpace("p/", 5, KeyDistribution.UNIFORM, Random(1))
    lister = ListWatch(
        *(FakeClient(), 1000, ENDPOINTS[0], Sink(), RunClock(), set(), space),  # type: ignore[arg-type]
        *(Listing(space, 2), first),
    )
    task = asyncio.create_task(lister.run())
    async with asyncio.timeout(10):
        # what is looked at changes while the lister has its turn, and it has no event to give
        while len(FakeWatcher.made) <= 2 * len(VIEWS):  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    views = [watcher.view for watcher in FakeWatcher.made]
    assert views[0] == VIEWS[first]
    assert views[: len(VIEWS)] == [*VIEWS[first:], *VIEWS[:first]] == views[len(VIEWS) : 2 * len(VIEWS)]
