"""A leader that is missing for a moment is waited for, and one that never comes is no error here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tester.cluster import election_ends
from tester.errors import ClusterError


class Monitor:
    """A cluster whose leader is there, comes, or does not."""

    def __init__(self, leader: str | None, comes: str | None = None) -> None:
        self.leader = leader
        self.comes = comes
        self.waited: list[float] = []

    def view(self) -> SimpleNamespace:
        return SimpleNamespace(leader=self.leader)

    async def wait_leader(self, limit: float) -> float:
        self.waited.append(limit)
        self.leader = self.comes
        if self.comes is None:
            raise ClusterError("no leader")
        return 0.0


@pytest.mark.parametrize(
    ("monitor", "waited"), [(Monitor("h1"), []), (Monitor(None, "h2"), [7.0]), (Monitor(None), [7.0])]
)
async def test_only_a_missing_leader_is_waited_for(monitor: Monitor, waited: list[float]) -> None:
    leader = monitor.leader or monitor.comes
    await election_ends(monitor, 7.0)  # type: ignore[arg-type]
    assert (monitor.leader, monitor.waited) == (leader, waited)
