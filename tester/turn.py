"""The turn from a cluster that is lost to another one: load, witnesses and history, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.records import EpochRecord, RestoredRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.actions.disaster import Snapshot
    from tester.clock import RunClock
    from tester.history.records import KeyValue
    from tester.history.writer import HistoryWriter
    from tester.load.engine import Load
    from tester.load.watchers import Watchers
    from tester.load.workers.fleet import LoadFleet


class EpochTurn:
    """``tester.actions.disaster.Turn`` of a round."""

    def __init__(
        self, load: Load | LoadFleet, watchers: Watchers, writer: HistoryWriter, clock: RunClock, prefix: str
    ) -> None:
        self.prefix = prefix
        self._load = load
        self._watchers = watchers
        self._writer = writer
        self._clock = clock
        self._epoch = 1
        self._paused = False
        self.is_midway = False
        """Whether the old cluster is given up, and the new one is not watched yet: no case can come next."""

    async def quiet(self) -> None:
        """See ``Turn.quiet``."""
        self._paused = True
        await self._load.pause()

    async def close(self, members: Sequence[str]) -> None:
        """See ``Turn.close``."""
        await self.quiet()
        self.is_midway = True
        for member in members:
            await self._watchers.left(member)

    def begin(self, revision: int, snapshot: Snapshot) -> None:
        """See ``Turn.begin``."""
        self._epoch += 1
        self._writer.write(
            EpochRecord(
                at=self._clock.now(),
                n=self._epoch,
                rev=revision,
                m=snapshot.member,
                asked=snapshot.asked_ns,
                taken=snapshot.taken_ns,
            )
        )
        self._writer.flush()

    def told(self, member: str, revision: int, content: tuple[KeyValue, ...]) -> None:
        """See ``Turn.told``."""
        self._writer.write(RestoredRecord(at=self._clock.now(), m=member, rev=revision, kv=content))

    async def watch(self, members: Sequence[str]) -> None:
        """See ``Turn.watch``."""
        for member in members:
            await self._watchers.joined(member)
        self.is_midway = False

    async def resume(self) -> None:
        """See ``Turn.resume``; nothing where the load is not paused."""
        if self._paused:
            self._paused = False
            await self._load.resume()
