"""One watcher a member, as long as it is a member."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from tester.etcd.watch import View
from tester.load.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.history.writer import Recorder

_FIRST_REVISION = 1
_EARLIER_REVISIONS = 5000
"""So many of those that are known when a member comes are asked of it again.

etcd tells a thousand of them at a time and reads for each thousand all that are missing, while nothing can be applied:
a member that has come with a long history would not catch up for minutes. That it has the whole history is what
``kv-hash`` says: the hash is over every revision.
"""
_VIEWS = (View(), View(prev_kv=True), View(fragment=True))
"""Watchers of different members look in different ways: between them they see all that etcd can show."""


class Watchers:
    """The independent witnesses of a round."""

    def __init__(
        self, endpoints: Iterable[Endpoint], recorder: Recorder, clock: RunClock, prefix: str
    ) -> None:
        """``endpoints``: of everybody who may be a member."""
        self._endpoints = {endpoint.member: endpoint for endpoint in endpoints}
        self._recorder = recorder
        self._clock = clock
        self._prefix = prefix
        self._numbers = count(1)
        self._watching: dict[str, Watcher] = {}

    async def start(self, members: Iterable[str]) -> None:
        """Watch on each of these members."""
        for member in members:
            await self._watch(member, _FIRST_REVISION)

    async def stop(self) -> None:
        """End all streams."""
        await asyncio.gather(*(watcher.stop() for watcher in self._watching.values()))
        self._watching.clear()

    async def joined(self, member: str) -> None:
        """Watch on this member too: it must also tell of changes before it came, sent to it as a snapshot."""
        known = max((watcher.delivered for watcher in self._watching.values()), default=0)
        await self._watch(member, max(_FIRST_REVISION, known - _EARLIER_REVISIONS))

    async def _watch(self, member: str, revision: int) -> None:
        number = next(self._numbers)
        endpoint = self._endpoints[member]
        view = _VIEWS[list(self._endpoints).index(member) % len(_VIEWS)]
        watcher = Watcher(number, endpoint, self._recorder, self._clock, self._prefix, revision, view=view)
        await watcher.start()
        self._watching[member] = watcher

    async def left(self, member: str) -> None:
        """End the stream of this member."""
        await self._watching.pop(member).stop()

    def check_alive(self) -> None:
        """See that every watcher lives.

        Raises:
            LoadError: one died.
        """
        for watcher in self._watching.values():
            watcher.check_alive()

    async def caught_up(self, revision: int, timeout: float) -> list[str]:
        """Wait until everybody has delivered ``revision``; what is to be said of those who stood still on the way.

        ``timeout`` is how many seconds one may be silent.

        Raises:
            LoadError: a watcher died.
        """
        watchers = list(self._watching.values())
        arrived = await asyncio.gather(*(watcher.caught_up(revision, timeout) for watcher in watchers))
        return [
            f"{watcher.name} delivered up to revision {watcher.delivered} and not {revision},"
            f" and nothing for {timeout:g} s"
            for watcher, there in zip(watchers, arrived, strict=True)
            if not there
        ]
