"""A writer and its crowd of watchers, each of which must be told every change of its prefix that it asked for."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from tester.history.records import Delete, DeleteResult, Put
from tester.load import values
from tester.load.pacer import Pacer
from tester.load.views import VIEWS
from tester.load.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from tester.clock import RunClock
    from tester.etcd.codec import Answer
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.watch import View
    from tester.history.writer import Recorder
    from tester.load.client import Client

_BACKOFF_SECONDS = 0.1
_VALUE_SIZE = 32
_LOOK_SECONDS = 0.5
_AT_ONCE = Pacer(None)


@dataclass(frozen=True, slots=True)
class CrowdMix:
    """How many of what."""

    prefixes: int
    watchers: int
    """Of each prefix."""
    keys: int
    """Written in a round; then all watchers are cancelled, and others begin."""
    rounds: int | None
    """``None``: until cancelled."""
    writing_seconds: float | None = None
    """How long a round writes at most; what it has not written by then is left out. ``None``: all."""


@dataclass(slots=True)
class _Last:
    """Revisions of the last changes under a prefix."""

    put: int = 0
    delete: int = 0

    def seen_as(self, view: View) -> int:
        """Of the last change that who looks so is told."""
        return self.put if "delete" in view.filters else self.delete


class Crowd:
    """Writes keys of its prefixes in turn, and waits for every watcher of a member to have been told of the last.

    A round ends with a delete under each prefix: who has asked for no puts waits for that one.
    """

    def __init__(
        self,
        mix: CrowdMix,
        prefix: str,
        client: Client,
        endpoints: Sequence[Endpoint],
        numbers: Iterator[int],
        value_ids: Iterator[int],
        pacer: Pacer,
        clock: RunClock,
        recorder: Recorder,
        step: Callable[[], None],
        absent: Collection[str] = (),
    ) -> None:
        """A crowd that has not gathered.

        Args:
            mix: how many of what.
            prefix: of every key.
            client: writes.
            endpoints: watchers are spread over those of them that are members.
            numbers: of watchers in the history, none twice.
            value_ids: shared by all clients of a run.
            pacer: of the writes.
            clock: of the run.
            recorder: gets what watchers are told.
            step: called for each write that was acknowledged, and each watcher that has seen all: progress.
            absent: who is no member now.
        """
        self._mix = mix
        self._prefixes = [f"{prefix}p{place:04d}/" for place in range(mix.prefixes)]
        self._client = client
        # Where a round has ended the next one goes on: each view comes to each member.
        self._asked, self._views = cycle(endpoints), cycle(VIEWS)
        self._numbers = numbers
        self._value_ids = value_ids
        self._pacer = pacer
        self._clock = clock
        self._recorder = recorder
        self._step = step
        self._absent = absent

    async def run(self) -> None:
        """All rounds; or until cancelled.

        Raises:
            LoadError: a watcher died of a defect.
        """
        done, revision = 0, 1
        while self._mix.rounds is None or done < self._mix.rounds:
            revision = await self._round(revision)
            done += 1

    async def _round(self, revision: int) -> int:
        await self._client.turn(_AT_ONCE)  # from here on to the next wait somebody is a member: the writer's
        crowd = self._gather(revision)
        try:
            for _, _, watcher in crowd:
                await watcher.start()
            last = await self._write()
            for prefix, view, watcher in crowd:
                if await self._saw(watcher, last[prefix].seen_as(view)):
                    self._step()
            # One after the other: etcd has to confirm each, and nobody else's may end with it.
            for _, _, watcher in crowd:
                await watcher.cancel()
        finally:
            await asyncio.gather(*(watcher.stop() for _, _, watcher in crowd))
        return max(one.delete for one in last.values()) + 1

    def _gather(self, revision: int) -> list[tuple[str, View, Watcher]]:
        return [
            (prefix, view, self._watcher(prefix, view, revision))
            for prefix in self._prefixes
            for view in islice(self._views, self._mix.watchers)
        ]

    def _watcher(self, prefix: str, view: View, revision: int) -> Watcher:
        number = next(self._numbers)
        endpoint = next(one for one in self._asked if one.member not in self._absent)
        common = self._recorder, self._clock, prefix, revision
        return Watcher(number, endpoint, *common, view=view, absent=self._absent)

    async def _write(self) -> dict[str, _Last]:
        """Write the keys of a round, as far as its time goes, and delete one of each prefix."""
        seconds = self._mix.writing_seconds
        until = math.inf if seconds is None else time.monotonic() + seconds
        last = {prefix: _Last() for prefix in self._prefixes}
        keys = max(self._mix.keys, self._mix.prefixes)
        prefixes = cycle(self._prefixes)
        for number in range(keys):
            if time.monotonic() >= until:
                break
            prefix = next(prefixes)
            last[prefix].put = await self._put(f"{prefix}k{number // self._mix.prefixes:06d}")
        for prefix in self._prefixes:
            await self._delete(f"{prefix}k000000", last[prefix])
        return last

    async def _put(self, key: str) -> int:
        while True:
            value = values.text(next(self._value_ids), _VALUE_SIZE)
            answer = await self._perform(Put(key, value))
            if answer is not None:
                return answer.revision

    async def _delete(self, key: str, last: _Last) -> None:
        while True:
            answer = await self._perform(Delete(key))
            if answer is None:
                continue
            if isinstance(answer.result, DeleteResult) and answer.result.deleted:
                last.delete = answer.revision
                return
            last.put = await self._put(key)  # a delete that nobody answered was done: no event is to come

    async def _perform(self, op: Put | Delete) -> Answer | None:
        late = await self._client.turn(self._pacer)
        answer = await self._client.perform(op, late)
        if answer is None:
            await asyncio.sleep(_BACKOFF_SECONDS)
        else:
            self._step()
        return answer

    async def _saw(self, watcher: Watcher, revision: int) -> bool:
        """Wait until it was told; ``False``: it never will be, its member has left."""
        while not await watcher.caught_up(revision, _LOOK_SECONDS):
            watcher.check_alive()
            if watcher.is_absent:
                await watcher.stop()
                return False
        return True
