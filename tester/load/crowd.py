"""A writer and its crowd of watchers, each of which must be told every change of its prefix."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from tester.history.records import Put
from tester.load import values
from tester.load.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.history.writer import Recorder
    from tester.load.client import Client
    from tester.load.pacer import Pacer

_BACKOFF_SECONDS = 0.1
_VALUE_SIZE = 32
_LOOK_SECONDS = 0.5


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


class Crowd:
    """Writes keys of its prefixes in turn, and waits for every watcher to have been told of the last."""

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
    ) -> None:
        """A crowd that has not gathered.

        Args:
            mix: how many of what.
            prefix: of every key.
            client: writes.
            endpoints: watchers are spread over them.
            numbers: of watchers in the history, none twice.
            value_ids: shared by all clients of a run.
            pacer: of the writes.
            clock: of the run.
            recorder: gets what watchers are told.
            step: called for each write that was acknowledged, and each watcher that has seen all: progress.
        """
        self._mix = mix
        self._prefixes = [f"{prefix}p{place:04d}/" for place in range(mix.prefixes)]
        self._client = client
        self._endpoints = tuple(endpoints)
        self._numbers = numbers
        self._value_ids = value_ids
        self._pacer = pacer
        self._clock = clock
        self._recorder = recorder
        self._step = step

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
        crowd = self._gather(revision)
        try:
            for _, watcher in crowd:
                await watcher.start()
            last = await self._write()
            for prefix, watcher in crowd:
                await self._await(watcher, last[prefix])
                self._step()
            # One after the other: etcd has to confirm each, and nobody else's may end with it.
            for _, watcher in crowd:
                await watcher.cancel()
        finally:
            await asyncio.gather(*(watcher.stop() for _, watcher in crowd))
        return max(last.values()) + 1

    def _gather(self, revision: int) -> list[tuple[str, Watcher]]:
        endpoints = cycle(self._endpoints)
        return [
            (
                prefix,
                Watcher(next(self._numbers), next(endpoints), self._recorder, self._clock, prefix, revision),
            )
            for prefix in self._prefixes
            for _ in range(self._mix.watchers)
        ]

    async def _write(self) -> dict[str, int]:
        """Write the keys of a round; the last acknowledged revision of each prefix."""
        last: dict[str, int] = {}
        keys = max(self._mix.keys, self._mix.prefixes)
        prefixes = cycle(self._prefixes)
        for number in range(keys):
            prefix = next(prefixes)
            last[prefix] = await self._put(f"{prefix}k{number // self._mix.prefixes:06d}")
        return last

    async def _put(self, key: str) -> int:
        while True:
            late = await self._client.turn(self._pacer)
            value = values.text(next(self._value_ids), _VALUE_SIZE)
            answer = await self._client.perform(Put(key, value), late)
            if answer is not None:
                self._step()
                return answer.revision
            await asyncio.sleep(_BACKOFF_SECONDS)

    async def _await(self, watcher: Watcher, revision: int) -> None:
        while not await watcher.caught_up(revision, _LOOK_SECONDS):
            watcher.check_alive()
