"""The load of a round: all clients of all stressers, started, paused, resumed and stopped together."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import count, cycle
from random import Random
from typing import TYPE_CHECKING, Any

from tester.errors import LoadError
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.keepalive import KeepAliveStream
from tester.history.records import ClientRecord, Put
from tester.load import values
from tester.load.client import Client, Shared
from tester.load.crews import Ground, crew_of, pacer_of
from tester.load.share import WHOLE, Share
from tester.load.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from tester.clock import RunClock
    from tester.etcd.channel import Channel, Connect
    from tester.etcd.endpoint import Endpoint
    from tester.events import LoadSample
    from tester.history.writer import HistoryWriter
    from tester.load.pacer import Pacer
    from tester.load.workers.messages import Report
    from tester.results import PhaseStats
    from tester.scenario.stressers import Stresser

_STOP_SECONDS = 1.0
_POLL_SECONDS = 0.005
_STUCK_SECONDS = 10.0
_WATCHERS_FROM = 1000
"""Numbers of watchers below are other people's."""
_MARK_SIZE = 32
_MARK_TIMEOUT_SECONDS = 1.0
_MARK_PAUSE_SECONDS = 0.05


def lease_ids(seed: int) -> Iterator[int]:
    """Ids of leases to ask for: of this load alone, as far as 62 bits can tell."""
    return count(Random(f"{seed}/leases").getrandbits(42) << 20 | 1)  # noqa: S311 - to replay, no secret


@dataclass(frozen=True, slots=True)
class LoadTotals:
    """Since the start. ``lag_seconds``: of all schedules, see ``Pacer.lag_seconds``."""

    ok: int
    fail: int
    info: int
    lag_seconds: float


class Load:
    """Clients, each with one member: the one that its stresser names, else round-robin over the members.

    A client that dies of a defect is recorded, and ``check_alive`` raises it; the others go on.
    """

    def __init__(
        self,
        stressers: Sequence[Stresser],
        endpoints: Sequence[Endpoint],
        recorder: HistoryWriter,
        clock: RunClock,
        seed: int,
        prefix: str,
        *,
        value_ids: Iterator[int] | None = None,
        connect: Connect = GrpcChannel,
        rounds: int | None = None,
        writing_seconds: float | None = None,
        share: Share = WHOLE,
    ) -> None:
        """A load that has not started.

        Args:
            stressers: what to do; each gets keys of its own under ``prefix``.
            endpoints: one per member, not empty.
            recorder: gets every operation.
            clock: of the run.
            seed: the clients' generators derive from it.
            prefix: of every key; nobody else writes there.
            value_ids: ids of written values. Pass one iterator to all loads of a run that share a cluster.
            connect: makes the one channel per member.
            rounds: of recipes; ``None``: until stopped, as all other load.
            writing_seconds: at most, in each round of a crowd of watchers; ``None``: until all is written.
            share: which of the clients are here.
        """
        self._stressers = tuple(stressers)
        self._endpoints = {endpoint.member: endpoint for endpoint in endpoints}
        self._recorder = recorder
        self._clock = clock
        self._seed = seed
        self._prefix = prefix
        self._value_ids = share.numbers() if value_ids is None else value_ids
        self._lease_ids = share.numbers(next(lease_ids(seed)))
        self._share = share
        self._numbers = count()
        self._connect = connect
        self._statistics = Statistics()
        self._shared = Shared(recorder, clock, self._statistics, share.numbers(), asyncio.Event())
        self._channels: dict[str, Channel] = {}
        self._renewals: list[KeepAliveStream] = []
        self._clients: list[Client] = []
        self._watcher_numbers = share.numbers(_WATCHERS_FROM)
        self._rounds = rounds
        self._writing_seconds = writing_seconds
        self.steps = [0] * len(self._stressers)
        """What each recipe has got done: times that a lock was held, renewals, watchers that saw all."""
        self._pacers: list[Pacer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._dead: LoadError | None = None

    async def start(self) -> None:
        """Connect in the background and begin."""
        for endpoint in self._endpoints.values():
            self._channels[endpoint.member] = self._connect(endpoint)
        members = cycle(self._channels)
        for index, stresser in enumerate(self._stressers):
            pacer = pacer_of(stresser, self._share)
            self._pacers.append(pacer)
            for client, work in crew_of(stresser, self._ground(stresser, index, pacer, members)):
                self._spawn(client, work)
        self._shared.gate.set()

    def absent(self, member: str) -> None:
        """Ask this one nothing: it is no member of the cluster. Its clients wait until it is one."""
        self._shared.absent.add(member)

    async def left(self, member: str) -> None:
        """As ``absent``; returns when nothing is in flight to it, at the latest at the deadlines.

        Raises:
            LoadError: an operation hangs past its deadline.
        """
        self.absent(member)
        while any(client.busy_since_ns is not None for client in self._clients if client.member == member):
            self._check_stuck()
            await asyncio.sleep(_POLL_SECONDS)

    async def joined(self, member: str) -> None:
        """It is a member, again or for the first time."""
        self._shared.absent.discard(member)

    async def pause(self) -> None:
        """Ask for nothing more; returns when nothing is in flight, at the latest at the deadlines.

        Raises:
            LoadError: an operation hangs past its deadline.
        """
        self._shared.gate.clear()
        while self._busy():
            self._check_stuck()
            await asyncio.sleep(_POLL_SECONDS)
        self._statistics.rest(self._clock.now())

    async def resume(self) -> None:
        """Go on, at the rate and without catching up."""
        for pacer in self._pacers:
            pacer.restart()
        self._shared.gate.set()

    async def stop(self) -> None:
        """End all clients and close the connections; what is still in flight after a second is ``info``."""
        self._shared.gate.clear()
        deadline = time.monotonic() + _STOP_SECONDS
        # Looking is rare; an event to wait for would cost something with every operation.
        while self._busy() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._renewals:
            await stream.close()
        for channel in self._channels.values():
            await channel.close()

    @property
    def running(self) -> bool:
        """Whether it is started and not paused."""
        return self._shared.gate.is_set()

    async def finished(self, timeout: float) -> bool:
        """Wait for the end of all rounds; whether it came within ``timeout`` seconds."""
        _, going_on = await asyncio.wait(self._tasks, timeout=timeout)
        return not going_on

    async def mark(self, timeout: float) -> int:
        """A recorded write after everything else, through the first member that takes it.

        It is a client's of its own. A watcher that has delivered its revision has delivered all that was
        acknowledged before.

        Returns:
            The revision of the write.

        Raises:
            LoadError: no member took it within ``timeout`` seconds.
        """
        number = next(self._numbers)
        markers = [
            Client(number, member, channel, min(timeout, _MARK_TIMEOUT_SECONDS), self._shared)
            for member, channel in self._channels.items()
            if member not in self._shared.absent
        ]
        try:
            async with asyncio.timeout(timeout):
                for marker in cycle(markers):
                    value = values.text(next(self._value_ids), _MARK_SIZE)
                    answer = await marker.perform(Put(k=f"{self._prefix}mark", v=value))
                    if answer is not None:
                        return answer.revision
                    await asyncio.sleep(_MARK_PAUSE_SECONDS)
        except TimeoutError:
            pass
        raise LoadError(f"no member took a write within {timeout:g} s after the load was paused")

    def totals(self) -> LoadTotals:
        """Counts since the start."""
        done = self._statistics
        return LoadTotals(done.ok, done.fail, done.info, sum(pacer.lag_seconds for pacer in self._pacers))

    def sample(self, at_ns: int) -> LoadSample:
        """The load since the last call, for the console."""
        return self._statistics.sample(at_ns)

    def report(self) -> Report:
        """The load since the last call, for the process that gathers it."""
        return self._statistics.report(self.totals().lag_seconds, list(self.steps))

    def window(self, start_ns: int, end_ns: int) -> PhaseStats:
        """The load between two times of the run clock."""
        return self._statistics.window(start_ns, end_ns)

    def check_alive(self) -> None:
        """See that every client lives and the history is being written.

        Raises:
            LoadError: a client died or hangs past its deadline, or a record could not be written.
        """
        self._recorder.check()
        if self._dead is not None:
            raise self._dead
        self._check_stuck()

    def _client(self, place: int, member: str, timeout: float) -> Client | None:
        """The client at a place of its stresser; ``None``: it is in another process."""
        client = self._keeper(place, member, timeout)
        if client is not None:
            self._clients.append(client)
        return client

    def _keeper(self, place: int, member: str, timeout: float) -> Client | None:
        """One that goes on while the load is paused: it must do nothing but keep leases alive."""
        number = next(self._numbers)
        if not self._share.has(place):
            return None
        renewals = KeepAliveStream(self._endpoints[member])
        self._renewals.append(renewals)
        return Client(number, member, self._channels[member], timeout, self._shared, renewals)

    def _ground(self, stresser: Stresser, index: int, pacer: Pacer, members: Iterator[str]) -> Ground:
        def rng(place: int) -> Random:
            return Random(f"{self._seed}/{index}/{place}")  # noqa: S311 - a seed to replay, no secret

        def step() -> None:
            self.steps[index] += 1

        return Ground(
            prefix=f"{self._prefix}{index}/",
            endpoints=self._endpoints,
            pacer=pacer,
            absent=self._shared.absent,
            clock=self._clock,
            recorder=self._recorder,
            value_ids=self._value_ids,
            lease_ids=self._lease_ids,
            watcher_numbers=self._watcher_numbers,
            rounds=self._rounds,
            writing_seconds=self._writing_seconds,
            step=step,
            member=lambda: next(members),
            client=lambda place, member: self._client(place, member, stresser.timeout),
            keeper=lambda place, member: self._keeper(place, member, stresser.timeout),
            rng=rng,
        )

    def _spawn(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"client {client.number}")
        task.add_done_callback(lambda done: self._ended(client, done))
        self._tasks.append(task)

    def _ended(self, client: Client, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._dead is None:
            self._dead = LoadError(f"client {client.number} on {client.member} died: {error!r}")
            self._dead.__cause__ = error
        if not isinstance(error, LoadError):  # or the history is what failed
            self._recorder.write(ClientRecord(at=self._clock.now(), c=client.number, error=repr(error)))

    def _busy(self) -> bool:
        return any(client.busy_since_ns is not None for client in self._clients)

    def _check_stuck(self) -> None:
        now = self._clock.now()
        for client in self._clients:
            since = client.busy_since_ns
            if since is not None and (now - since) / 1e9 > client.timeout + _STUCK_SECONDS:
                raise LoadError(
                    f"client {client.number} has waited {(now - since) / 1e9:.1f} s for {client.member}, "
                    f"past its deadline of {client.timeout:g} s"
                )
