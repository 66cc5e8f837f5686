"""How long a fault is held for a snapshot, and who received one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tester import until
from tester.clock import RunClock
from tester.errors import FaultIneffectiveError
from tester.scenario.model import Until
from tester.until import (
    CommitWait,
    SnapshotCounts,
    SnapshotLookout,
    counts_of,
    entries_needed,
    require_snapshots,
)
from tests.unit.load.fakes import ENDPOINTS
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.etcd.endpoint import Endpoint
    from tester.etcd.monitor import ClusterMonitor

METRICS = """\
# HELP etcd_network_snapshot_receive_success Total number of successful snapshot receives
# TYPE etcd_network_snapshot_receive_success counter
etcd_network_snapshot_receive_success{From="8e9e05c52164694d"} 1
etcd_network_snapshot_receive_success{From="91bc3c398fb3c146"} 2
etcd_network_snapshot_receive_total_duration_seconds_bucket{From="8e9e05c52164694d",le="0.1"} 9
etcd_network_snapshot_send_success{To="91bc3c398fb3c146"} 4
etcd_network_snapshot_send_total_duration_seconds_bucket{To="91bc3c398fb3c146",le="0.1"} 7
"""


@pytest.mark.parametrize(("text", "received", "sent"), [("", 0, 0), (METRICS, 3, 4)])
def test_snapshots_in_metrics(text: str, received: float, sent: float) -> None:
    assert counts_of(text) == SnapshotCounts(received, sent)


def test_entries_follow_the_flags() -> None:
    assert entries_needed([member_spec()], Until.SNAPSHOT) == 155_000
    small = member_spec(flags={"snapshot-count": "2000"}, env={"ETCD_SNAPSHOT_COUNT": "9"})
    assert entries_needed([small], Until.SNAPSHOT) == 8_000
    assert entries_needed([small], Until.ENTRIES) == 3_000
    other = member_spec(
        env={"ETCD_SNAPSHOT_COUNT": "4000", "ETCD_EXPERIMENTAL_SNAPSHOT_CATCHUP_ENTRIES": "1000"}
    )
    assert entries_needed([small, other], Until.SNAPSHOT) == 8_000
    assert entries_needed([small, other], Until.ENTRIES) == 6_000


class Commits:
    """A monitor of a cluster that commits so many entries at each look, and stops at ``most``."""

    def __init__(self, step: int, most: int) -> None:
        self.index, self.step, self.most = 50, step, most

    def view(self) -> SimpleNamespace:
        self.index = min(self.index + self.step, self.most)
        health = SimpleNamespace(raft_index=self.index)
        return SimpleNamespace(health={"m1": health, "m2": None})


async def test_a_slow_load_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until, "_LOOK_SECONDS", 0.001)
    wait = CommitWait(cast("ClusterMonitor", Commits(1, 10**9)), RunClock())
    assert (await wait.until(100)).entries >= 100


async def test_a_load_that_stands_still_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(until, "_STALLED_SECONDS", 0.05)
    wait = CommitWait(cast("ClusterMonitor", Commits(10, 90)), RunClock())
    with pytest.raises(FaultIneffectiveError, match="of 100 entries were committed, and none for"):
        await wait.until(100)


async def test_members_that_do_not_answer_for_a_while_commit_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(until, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(until, "_STALLED_SECONDS", 0.0)
    indices = iter([None, 1000, None, None, 1050, None, 1100])

    class Silent:
        def view(self) -> SimpleNamespace:
            index = next(indices)
            return SimpleNamespace(health={"m1": index and SimpleNamespace(raft_index=index)})

    # counted from the first answer, and not from 0
    assert (await CommitWait(cast("ClusterMonitor", Silent()), RunClock()).until(60)).entries == 100
    assert next(indices, "all asked") == "all asked"
    monkeypatch.setattr(until, "_SILENT_SECONDS", 0.0)
    indices = iter([None, None])
    with pytest.raises(FaultIneffectiveError, match="only 0 of 60 entries"):
        await CommitWait(cast("ClusterMonitor", Silent()), RunClock()).until(60)


def test_for_a_while_after_a_snapshot_none_is_sent() -> None:
    class Clock:
        at = 0

        def now(self) -> int:
            return self.at * 1_000_000_000

    def note(*ends: tuple[str, int], **sent: float) -> None:
        lookout.note({member: SnapshotCounts(9.0, count) for member, count in sent.items()}, ends)

    clock = Clock()
    lookout = SnapshotLookout(cast("RunClock", clock))
    note(m1=0.0, m2=0.0)
    assert lookout.seconds_left("m1") == 0
    clock.at = 10
    note(m1=1.0, m2=0.0)
    clock.at = 15
    note(m1=1.0, m2=0.0)
    assert lookout.seconds_left("m1") == 25
    assert lookout.seconds_left("m2") == 0, "another leader has sent none, and forgets"
    assert lookout.seconds_left(None) == 25, "who knows who will lead"
    clock.at = 20
    note(m2=1.0)
    assert (lookout.seconds_left("m1"), lookout.seconds_left("m2"), lookout.seconds_left(None)) == (
        20,
        30,
        30,
    )
    clock.at = 50
    assert lookout.seconds_left(None) == 0
    note(m1=0.0)  # restarted unseen, and has sent none
    assert lookout.seconds_left("m1") == 0
    note(m1=1.0)
    assert lookout.seconds_left("m1") == 30
    clock.at = 60
    note(("m1", 49_000_000_000), m1=1.0)
    assert lookout.seconds_left("m1") == 20, "it was this process that had sent it"
    note(("m1", 60_000_000_000))
    assert lookout.seconds_left("m1") == 0, "one that begins anew keeps nothing for anybody"
    note(m1=1.0)
    assert lookout.seconds_left("m1") == 30, "another process, and it has sent one as well"


@pytest.mark.parametrize(
    ("told", "restarted", "problem"),
    [
        (SnapshotCounts(2.0), (), ""),
        (SnapshotCounts(1.0, 5.0), (), "m1: received no snapshot"),
        (SnapshotCounts(1.0), ("m1",), ""),
        (SnapshotCounts(0.0), ("m1",), "m1: received no snapshot"),
        ("refused", ("m1",), "m1: its metrics cannot be read: refused"),
    ],
)
async def test_who_received_one(
    monkeypatch: pytest.MonkeyPatch, told: SnapshotCounts | str, restarted: tuple[str, ...], problem: str
) -> None:
    async def scrape(_endpoints: object) -> dict[str, SnapshotCounts | str]:
        await asyncio.sleep(0)
        return {"m1": told}

    monkeypatch.setattr(until, "_scrape", scrape)
    monkeypatch.setattr(until, "_LOOK_SECONDS", 0.001)
    work = require_snapshots(ENDPOINTS[:1], {"m1": SnapshotCounts(1.0)}, restarted, 0.01)
    if not problem:
        assert await work == "m1 received a snapshot"
    else:
        with pytest.raises(FaultIneffectiveError, match=f"of coming back: {problem}"):
            await work


async def test_one_of_an_earlier_case_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The member did not answer before the fault, and its process has received one since the round began."""
    asked = []

    async def scrape(endpoints: Sequence[Endpoint]) -> dict[str, SnapshotCounts | str]:
        await asyncio.sleep(0)
        asked.append([endpoint.member for endpoint in endpoints])
        return {
            endpoint.member: "timed out" if endpoint.member == "m1" else SnapshotCounts(1.0)
            for endpoint in endpoints
        }

    monkeypatch.setattr(until, "_scrape", scrape)
    before = await until.count_snapshots(ENDPOINTS[:2])
    assert before == {"m2": SnapshotCounts(1.0)}
    assert asked == [["m1", "m2"], ["m1"], ["m1"]]
    with pytest.raises(FaultIneffectiveError, match="how many snapshots m1 had received before the fault"):
        await require_snapshots(ENDPOINTS[:1], before, (), 0.01)
