"""A member whose database differs: etcd's own check raises its alarm, and both checkers tell of it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tester.checkers import run_checkers
from tester.evidence import Witness
from tester.history.history import History
from tester.history.records import FORMAT_VERSION, Header
from tester.results import Verdict
from tests.etcd.conftest import INSIDE
from tests.etcd.inside.cluster import Cluster
from tests.etcd.inside.conftest import Bench, bench_of
from tests.lies.story import NoExits

if TYPE_CHECKING:
    from pathlib import Path

    from tester.results import CheckResult

PREFIX = "etcd-chaos/load/"
WAS, IS = b"a value that is whole", b"a value that is BENT!"
PATIENCE_SECONDS = 60.0


async def judged(bench: Bench) -> dict[str, CheckResult]:
    names = bench.cluster.names
    witness = Witness(bench.cluster.endpoints, names, bench.clock, NoExits(names), PREFIX)
    try:
        end = await witness.testify(0)
    finally:
        await witness.close()
    history = History([Header(FORMAT_VERSION, "run", 1, "s", 7, 0, PREFIX, names)])
    return {result.checker: result for result in run_checkers(["alarms", "kv-hash"], history, end)}


async def test_a_member_whose_database_differs(tmp_path: Path) -> None:
    cluster = Cluster(os.environ[INSIDE], tmp_path, ("--experimental-corrupt-check-time", "1s"))
    async with bench_of(cluster) as bench:
        one, *_ = bench.clients.values()
        await one.put(PREFIX + "1", WAS)
        await asyncio.sleep(2.5)  # the control goes through two of etcd's own checks
        before = await judged(bench)
        assert {result.verdict for result in before.values()} == {Verdict.VALID}, before

        await cluster.kill("m3")
        database = tmp_path / "m3" / "member" / "snap" / "db"
        content = database.read_bytes()
        assert WAS in content
        database.write_bytes(content.replace(WAS, IS))
        cluster.start("m3")
        await bench.monitor.wait_serving(PATIENCE_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (alarms := await one.alarms()):  # noqa: ASYNC110 - a list of etcd's
                await asyncio.sleep(0.2)
        assert {alarm.kind for alarm in alarms} == {"CORRUPT"}
        after = await judged(bench)
        assert {name: result.verdict for name, result in after.items()} == {
            "alarms": Verdict.INVALID,
            "kv-hash": Verdict.INVALID,
        }, after
        assert "raised the alarm CORRUPT" in after["alarms"].message
