"""Locks, elections, watchers and renewers on real members: right ones under faults, broken ones caught."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from tester.history.records import Txn, WatchEnd
from tester.load import contenders, crews
from tester.recipes.contest import Contest, Standing, Ticket
from tester.recipes.session import Session
from tester.results import Verdict
from tester.scenario.stressers import Stresser
from tests.etcd.inside.recorded import recorded

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tester.history.records import Delete, Put
    from tests.etcd.inside.conftest import Bench
    from tests.etcd.inside.recorded import Recorded


def stressers(*sections: dict[str, object]) -> list[Stresser]:
    return [TypeAdapter[Stresser](Stresser).validate_python(section) for section in sections]


async def faults(run: Recorded) -> None:
    """The leader is killed and comes back, then a follower stalls."""
    bench = run.bench
    await run.until_ok(200)
    leader = bench.monitor.view().leader
    assert leader is not None
    await bench.cluster.kill(leader)
    await run.until_ok(100)
    await bench.monitor.wait_leader(30)
    bench.cluster.start(leader)
    await bench.monitor.wait_serving(30)
    follower = next(name for name in bench.cluster.names if name != bench.monitor.view().leader)
    bench.cluster.signal(follower, signal.SIGSTOP)
    await asyncio.sleep(1.5)
    bench.cluster.signal(follower, signal.SIGCONT)
    await bench.monitor.wait_serving(30)
    await run.until_ok(200)


async def test_recipes_under_faults(bench: Bench, tmp_path: Path) -> None:
    load = stressers(
        {"kind": "lock", "clients": 5, "ttl": "3s", "rate": "100/s", "timeout": "1s"},
        {"kind": "election", "clients": 5, "ttl": "3s", "rate": "100/s", "timeout": "1s"},
        {"kind": "watcher", "prefixes": 3, "watchers": 2, "keys": 20, "rate": "60/s", "timeout": "1s"},
        {"kind": "lease-renewer", "clients": 3, "ttl": "3s", "timeout": "1s"},
    )
    async with recorded(bench, tmp_path / "history.jsonl", load) as run:
        await faults(run)
        history, results = await run.judge("locks", "elections", "leases", "linearizable")
    for result in results.values():
        assert result.verdict is Verdict.VALID, result
    assert sum(run.load.steps) > 50
    states = {(claim.kind, claim.state) for claim in history.claims}
    assert states >= {("lock", "held"), ("lock", "released"), ("election", "held"), ("election", "observed")}
    ends = [session.end for session in history.sessions if session.start.w >= 1000]
    assert len(ends) > 12
    first = [session.start for session in history.sessions if session.start.w >= 1000][:6]
    assert {start.filters for start in first} == {(), ("put",), ("delete",)}
    assert {start.prev_kv for start in first} == {False, True}
    # of the watchers of a round that was over before any fault, all were ended by etcd, as asked
    assert [end.reason for end in ends[:6] if isinstance(end, WatchEnd)] == ["cancelled by etcd"] * 6


class Impatient(Contest):
    def wins(self, ticket: Ticket, standing: Standing) -> bool:
        return True


class Unfenced(Contest):
    def fenced(self, ticket: Ticket, step: Put | Delete) -> Txn:
        return Txn(then=(step,))


class Careless(Session):
    """Neither renews its lease nor minds its end."""

    @property
    def alive(self) -> bool:
        return True

    async def _renew(self) -> None:
        await asyncio.Event().wait()


async def test_recipes_that_do_not_wait_are_caught(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "Contest", Impatient)
    load = stressers(*({"kind": kind, "clients": 4, "rate": "200/s"} for kind in ("lock", "election")))
    async with recorded(bench, tmp_path / "history.jsonl", load) as run:
        await run.until_ok(200)
        _, results = await run.judge("locks", "elections", "linearizable")
    assert results["linearizable"].verdict is Verdict.VALID
    for checker in ("locks", "elections"):
        assert results[checker].verdict is Verdict.INVALID
        assert "was first" in results[checker].message


async def test_a_lock_that_trusts_its_lease_is_caught(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "Contest", Unfenced)
    monkeypatch.setattr(contenders, "Session", Careless)
    monkeypatch.setattr(contenders, "_MOST_STEPS", 40)
    load = stressers({"kind": "lock", "clients": 2, "ttl": "1s", "rate": "8/s"})
    async with recorded(bench, tmp_path / "history.jsonl", load) as run:
        await asyncio.sleep(5)
        _, results = await run.judge("locks", "linearizable", "leases")
    assert results["linearizable"].verdict is Verdict.VALID
    assert results["leases"].verdict is Verdict.VALID
    assert results["locks"].verdict is Verdict.INVALID
    assert "changed the guarded key" in results["locks"].message
