"""Controls: a healthy etcd under every load and with faults by signal is never called a liar.

``ETCD_CHAOS_CONTROLS`` is how many rounds; ``make controls`` sets it to many more.
"""

from __future__ import annotations

import asyncio
import os
import signal
from random import Random
from typing import TYPE_CHECKING

from tester.results import Verdict
from tests.etcd.inside.known import is_known
from tests.lies.kinds import BASIC, LEASES, SERIALIZABLE, TRANSACTIONS
from tests.lies.story import Story, until_ok

if TYPE_CHECKING:
    from pathlib import Path

    from tester.load.engine import Load
    from tests.etcd.inside.conftest import Bench

ROUNDS = int(os.environ.get("ETCD_CHAOS_CONTROLS", "2"))
COMPACTING = {"put": 0.5, "delete": 0.1, "get-at-revision": 0.2, "range": 0.19, "compact": 0.01}
HANGING = {"put-lease": 0.3, "txn-mixed": 0.3, "get": 0.2, "delete": 0.2}
RECIPES = ("lock", "election", "watcher")
LOADS = (TRANSACTIONS, COMPACTING, LEASES, BASIC, SERIALIZABLE, "kubernetes", HANGING, *RECIPES)
MORE = 150


async def more(load: Load) -> None:
    wanted = load.totals().ok + MORE
    await until_ok(load, lambda: wanted)


async def disturb(bench: Bench, load: Load, rng: Random) -> None:
    """Kill or stop one or two members, and let them come back."""
    await more(load)
    hit = rng.sample(bench.cluster.names, rng.choice((1, 1, 2)))
    killed = rng.random() < 0.5
    for name in hit:
        if killed:
            await bench.cluster.kill(name)
        else:
            bench.cluster.signal(name, signal.SIGSTOP)
    await asyncio.sleep(rng.uniform(0.1, 1.5))
    for name in hit:
        if killed:
            bench.cluster.start(name)
        else:
            bench.cluster.signal(name, signal.SIGCONT)
    await bench.monitor.wait_serving(60)
    await bench.monitor.wait_writes(60)
    await more(load)


async def test_a_healthy_etcd_is_never_called_a_liar(bench: Bench, tmp_path: Path) -> None:
    story = Story(bench.cluster.endpoints, tmp_path, bench.cluster.endpoints)
    judged = 0
    for number in range(ROUNDS):
        rng = Random(number)
        results = await story.judged(
            "control", LOADS[number % len(LOADS)], lambda load, rng=rng: disturb(bench, load, rng)
        )
        for result in results.values():
            if is_known(bench.cluster.version, result):
                continue
            assert result.verdict is not Verdict.INVALID, (number, result)
            judged += result.verdict is Verdict.VALID
    print(f"{ROUNDS} rounds: {judged} verdicts valid, none invalid")
    assert judged >= 3 * ROUNDS
