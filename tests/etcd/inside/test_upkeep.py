from __future__ import annotations

from typing import TYPE_CHECKING

from tester.compaction import Skipped, compact
from tester.defragmentation import defragment
from tester.results import CheckResult, Verdict

if TYPE_CHECKING:
    from tests.etcd.inside.conftest import Bench


async def test_the_upkeep_after_a_round(bench: Bench) -> None:
    one, *_ = bench.clients.values()
    endpoints, announced = bench.cluster.endpoints, list[int]()
    assert isinstance(await compact(endpoints, 1_000_000, announced.append), Skipped)
    assert announced == []
    for number in range(200):
        await one.put(f"etcd-chaos/load/{number % 10}", bytes(20_000))
    result = await compact(endpoints, 10, announced.append)
    assert isinstance(result, CheckResult)
    assert (result.verdict, result.findings) == (Verdict.VALID, ()), result.message
    assert len(announced) == 1
    again = await compact(endpoints, 20, announced.append)
    assert isinstance(again, Skipped), "further back than it is compacted already"

    before = sum([(await client.status()).db_size_bytes for client in bench.clients.values()])
    result = await defragment(endpoints)
    assert (result.verdict, result.findings) == (Verdict.VALID, ()), result.message
    assert sum([(await client.status()).db_size_bytes for client in bench.clients.values()]) < before
