"""Whether the recipes of a round's load get anywhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tester.history.endstate import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tester.clock import RunClock
    from tester.etcd.monitor import ClusterView
    from tester.scenario.stressers import Stresser

_BY_STEPS = frozenset({"lock", "election", "watcher", "lease-renewer"})
"""Kinds of stressers that do things one after the other, each of which is a step. The others are `availability`'s."""


class Progress:
    """Counts the time in which a stresser made no step although nothing kept it from one.

    It stands still while faults or actions disturb, while the load is paused, and while a member does not answer or
    nobody leads; a step sets it back.
    """

    def __init__(self, stressers: Sequence[Stresser], clock: RunClock) -> None:
        self._names = {
            place: f"{stresser.kind} (stresser {place + 1})"
            for place, stresser in enumerate(stressers)
            if stresser.kind in _BY_STEPS
        }
        self._clock = clock
        self._seen = dict.fromkeys(self._names, 0)
        self._idle_ns = dict.fromkeys(self._names, 0)
        self._longest_ns = dict.fromkeys(self._names, 0)
        self._looked_ns = clock.now()
        self._disturbed = 0

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """For as long as something is done to the cluster."""
        self._disturbed += 1
        try:
            yield
        finally:
            self._disturbed -= 1

    def look(self, steps: Sequence[int], view: ClusterView, *, running: bool) -> None:
        """Take in how many steps each stresser has made so far, and how the cluster is; several times a second."""
        now = self._clock.now()
        passed, self._looked_ns = now - self._looked_ns, now
        serves = running and not self._disturbed and view.leader is not None
        serves = serves and all(health is not None for health in view.health.values())
        for place in self._names:
            if steps[place] != self._seen[place]:
                self._seen[place], self._idle_ns[place] = steps[place], 0
            elif serves:
                self._idle_ns[place] += passed
                self._longest_ns[place] = max(self._longest_ns[place], self._idle_ns[place])

    def told(self) -> tuple[Steps, ...]:
        """So far."""
        return tuple(
            Steps(name, self._seen[place], self._longest_ns[place] / 1e9)
            for place, name in self._names.items()
        )
