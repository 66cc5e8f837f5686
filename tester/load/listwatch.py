"""List all keys in pages at one revision, then watch from the next: what keeps a cache of the cluster true."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from tester.load.pacer import Pacer
from tester.load.views import VIEWS
from tester.load.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Collection

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.watch import View
    from tester.history.writer import Recorder
    from tester.load.client import Client
    from tester.load.keys import KeySpace
    from tester.load.listing import Listing

_WATCH_SECONDS = 3.0
_RETRY_SECONDS = 0.1
_AT_ONCE = Pacer(None)


@dataclass(frozen=True, slots=True)
class ListWatch:
    """One that lists, watches for three seconds what has changed since, and begins anew, until cancelled.

    The pages are operations of ``client``, the watch has a number of its own: both are judged as any other.
    """

    client: Client
    watcher_number: int
    endpoint: Endpoint
    recorder: Recorder
    clock: RunClock
    absent: Collection[str]
    """Who is no member now."""
    space: KeySpace
    listing: Listing
    first_view: int
    """Place in ``VIEWS``, which its watches take in turn; several of them begin apart."""

    async def run(self) -> None:
        """Returns never; raises only what is a defect or a full disk."""
        views = islice(cycle(VIEWS), self.first_view, None)
        while True:
            revision = await self._list()
            if revision is None:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await self._watch(revision + 1, next(views))

    async def _list(self) -> int | None:
        """The revision of a whole list; ``None``: a page was refused, by compaction or a fault."""
        self.listing.restart()
        while True:
            await self.client.turn(_AT_ONCE)
            page = self.listing.page()
            answer = await self.client.perform(page)
            if answer is None:
                return None
            self.listing.learn(page, answer.revision, answer.result)
            if not self.listing.begun:
                return page.r or answer.revision

    async def _watch(self, revision: int, view: View) -> None:
        watcher = Watcher(
            self.watcher_number,
            self.endpoint,
            self.recorder,
            self.clock,
            self.space.first,
            revision,
            end=self.space.end,
            view=view,
            absent=self.absent,
        )
        await watcher.start()
        try:
            await asyncio.sleep(_WATCH_SECONDS)
            watcher.check_alive()
        finally:
            await watcher.stop()
