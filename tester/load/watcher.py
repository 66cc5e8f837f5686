"""Independent witnesses: one watcher per member on the whole key space of the load."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.errors import LoadError
from tester.etcd import codec
from tester.etcd.client import EtcdClient, prefix_end
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError
from tester.etcd.watch import EVERYTHING, View, WatchStream
from tester.history.records import ClientRecord, Watched, WatchEnd, WatchStart

if TYPE_CHECKING:
    from collections.abc import Collection

    from etcd3.etcdrpc import rpc_pb2 as pb

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.history.writer import Recorder

_PROGRESS_SECONDS = 1.0
# Each progress request is answered within moments; a stream that says nothing for this long has stalled.
_STALLED_SECONDS = 4.0
_RECONNECT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _End:
    """Why a stream ended."""

    reason: str
    compacted: int = 0


class Watcher:
    """Watches ``[prefix, prefix end)``, or what it is told, on one member and records every response.

    A lost stream is resumed from the last delivered revision + 1: nothing is skipped, nothing comes twice.
    If that revision is compacted away, the record of the end says so, and the watch goes on from there.
    Progress notifications are recorded, but neither resuming nor ``caught_up`` trusts them: etcd before
    3.4.25 and 3.5.8 may send them ahead of events. Later ones send none while the next revision to deliver is one
    that the member has not reached: a stream that is silent for that reason alone has not stalled.
    """

    def __init__(
        self,
        number: int,
        endpoint: Endpoint,
        recorder: Recorder,
        clock: RunClock,
        prefix: str,
        start_revision: int,
        *,
        end: str | None = None,
        view: View = EVERYTHING,
        absent: Collection[str] = (),
    ) -> None:
        """A watcher that has not started.

        Args:
            number: of this watcher in the history.
            endpoint: of the one member it asks.
            recorder: gets every response.
            clock: of the run.
            prefix: of the keys to watch.
            start_revision: the first revision to deliver, 1 or more; the load begins no earlier.
            end: if given, the keys to watch are those from ``prefix`` up to it.
            view: what of the changes to ask for.
            absent: who is no member now; while the watcher's is one of them it is not asked again.
        """
        self._number = number
        self._endpoint = endpoint
        self._recorder = recorder
        self._clock = clock
        self._prefix = prefix
        self._end = prefix_end(prefix) if end is None else end.encode()
        self._view = view
        self._absent = absent
        self._next = start_revision
        self._moved = asyncio.Event()
        self._started = False
        self._heard_ns = 0
        self._task: asyncio.Task[None] | None = None
        self._stream: WatchStream | None = None
        self._watch_id = 0
        self._leaving = False

    @property
    def is_absent(self) -> bool:
        """Whether its member is none now."""
        return self._endpoint.member in self._absent

    @property
    def name(self) -> str:
        """For messages."""
        return f"watcher {self._number} on {self._endpoint.member}"

    @property
    def delivered(self) -> int:
        """Everything up to this revision has been delivered, or is known to be compacted away."""
        return self._next - 1

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run(), name=self.name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """End the stream."""
        self._leaving = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def cancel(self) -> None:
        """Have etcd end the watch, and wait until it says that it has, or the stream is lost."""
        self._leaving = True
        if self._stream is None or self._task is None:
            await self.stop()  # between two streams: there is nothing to cancel
            return
        with suppress(RpcError):  # a lost stream ends by itself
            await self._stream.cancel(self._watch_id)
        await asyncio.wait({self._task})

    async def caught_up(self, revision: int, timeout: float) -> bool:
        """Wait for an event at ``revision`` or later, as long as none lets more than ``timeout`` seconds pass.

        Whether it came. A member that is behind is not given up for how long it takes in all: what it was about to
        tell would be missing in the evidence. ``revision`` must be of a write under the prefix (``Load.mark``), or
        it may never come.

        Raises:
            LoadError: the watcher died.
        """
        try:
            while self.delivered < revision:
                self.check_alive()
                self._moved.clear()
                async with asyncio.timeout(timeout):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def check_alive(self) -> None:
        """See that the watcher lives.

        Raises:
            LoadError: it died of a defect, or could not write what it saw.
        """
        task = self._task
        if task is not None and task.done() and not task.cancelled() and (error := task.exception()):
            raise LoadError(f"{task.get_name()} died: {error!r}") from error

    async def _run(self) -> None:
        while True:
            # Looking is rare; an event to wait for would be one more thing that each change of members has to set.
            while self.is_absent:  # noqa: ASYNC110
                await asyncio.sleep(_RECONNECT_SECONDS)
            self._started = False
            end = _End("the watcher was stopped")
            try:
                end = await self._watch()
            finally:
                if self._started:
                    self._recorder.write(
                        WatchEnd(
                            w=self._number, at=self._clock.now(), reason=end.reason, compacted=end.compacted
                        )
                    )
            if end.compacted > self._next:
                self._next = end.compacted
                self._moved.set()
            if self._leaving:
                return
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _watch(self) -> _End:
        """One stream, until it ends."""
        try:
            async with WatchStream(self._endpoint) as stream:
                async with asyncio.timeout(_STALLED_SECONDS):
                    await stream.create(self._prefix, self._end, self._next, self._view)
                return await self._follow(stream)
        except TimeoutError:
            return _End(f"stalled: silent for {_STALLED_SECONDS:g} s although progress was asked for")
        except RpcError as error:
            return _End(str(error))

    async def _follow(self, stream: WatchStream) -> _End:
        self._heard_ns = self._clock.now()
        self._stream = stream
        reading = asyncio.create_task(self._read(stream))
        asking = asyncio.create_task(self._ask_for_progress(stream))
        try:
            done, _ = await asyncio.wait({reading, asking}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            reading.cancel()
            asking.cancel()
            await asyncio.gather(reading, asking, return_exceptions=True)
            self._stream = None

    async def _read(self, stream: WatchStream) -> _End:
        while True:
            end = self._take(await stream.read())
            if end is not None:
                return end

    async def _ask_for_progress(self, stream: WatchStream) -> _End:
        # One look a second instead of a timer per message: a busy stream has thousands.
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            if (self._clock.now() - self._heard_ns) / 1e9 > _STALLED_SECONDS:
                if not await self._is_behind():
                    raise TimeoutError
                self._heard_ns = self._clock.now()
            async with asyncio.timeout(_STALLED_SECONDS):
                await stream.request_progress()

    async def _is_behind(self) -> bool:
        """Whether the member has not reached the next revision: then it owes nothing, not even an answer."""
        client = EtcdClient(self._endpoint, connect(self._endpoint), _STALLED_SECONDS)
        try:
            return await client.own_revision(self._prefix) < self._next
        except RpcError:
            return False
        finally:
            await client.close()

    def _take(self, response: pb.WatchResponse) -> _End | None:
        """Record a response; the end if it is one. A stream that was never granted leaves no records."""
        now = self._heard_ns = self._clock.now()
        if response.created and not self._started:
            self._started = True
            self._watch_id = response.watch_id
            self._recorder.write(
                WatchStart(
                    w=self._number,
                    at=now,
                    m=self._endpoint.member,
                    k=self._prefix,
                    e=self._end.decode(),
                    rev=self._next,
                    prev_kv=self._view.prev_kv,
                    filters=self._view.filters,
                )
            )
        if response.canceled:
            reason = (
                "compacted" if response.compact_revision else response.cancel_reason or "cancelled by etcd"
            )
            return _End(reason, response.compact_revision)
        if not response.created:
            events = codec.events(response.events)
            self._recorder.write(Watched(w=self._number, at=now, rev=response.header.revision, ev=events))
            if events:
                self._next = max(self._next, events[-1].m + 1)
                self._moved.set()
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._moved.set()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, LoadError):  # or the history is what failed
            self._recorder.write(
                ClientRecord(at=self._clock.now(), c=-1, error=f"{task.get_name()}: {error!r}")
            )
