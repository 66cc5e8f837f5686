"""How recovery is measured, and where what is left of an action comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tester.cluster import measure_recovery
from tester.errors import ClusterError
from tester.results import Recovery

if TYPE_CHECKING:
    from tester.etcd.monitor import ClusterMonitor


class Monitor:
    """Says in what order it was asked; ``never`` comes what the test names."""

    def __init__(self, never: str = "") -> None:
        self.never = never
        self.asked: list[str] = []

    async def _wait(self, what: str) -> float:
        self.asked.append(what)
        if what == self.never:
            raise ClusterError("not within the limit")
        return 0.5

    async def wait_leader(self, _limit: float) -> float:
        return await self._wait("leader")

    async def wait_serving(self, _limit: float) -> float:
        return await self._wait("serving")

    async def wait_writes(self, _limit: float) -> float:
        return await self._wait("writes")


@pytest.mark.parametrize(
    ("never", "order", "recovery"),
    [
        ("", ["leader", "serving", "rest", "writes"], Recovery(0.5, 0.5, 0.5, 9.0)),
        ("serving", ["leader", "serving", "writes"], Recovery(0.5, None, 0.5, 9.0)),
        ("writes", ["leader", "serving", "rest", "writes"], Recovery(0.5, 0.5, None, 9.0)),
    ],
)
async def test_room_is_made_when_the_cluster_serves_and_before_it_is_asked_for_writes(
    never: str, order: list[str], recovery: Recovery
) -> None:
    monitor = Monitor(never)

    async def rest() -> None:
        monitor.asked.append("rest")

    assert await measure_recovery(cast("ClusterMonitor", monitor), 9.0, rest) == recovery
    assert monitor.asked == order
