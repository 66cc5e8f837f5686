"""A load in worker processes, driven like one that is not.

Each worker writes its own part of the history, beside the tester's; CLOCK_MONOTONIC is one for all processes of a
machine, so times compare as they are. Statistics come ten times a second. Workers of other machines stand behind
the same seam: ``tester.load.hosts``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from tester.errors import LoadError
from tester.load.workers.gathered import Gathered
from tester.load.workers.messages import MAX_LINE_BYTES, PAUSE, RESUME, STOP, Failed, Message, Paused, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.events import LoadSample
    from tester.load.engine import Load, LoadTotals
    from tester.load.workers.messages import Order
    from tester.results import PhaseStats

_PAUSE_MARGIN_SECONDS = 20.0
"""Beyond the longest deadline of an operation."""
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LAST_WORDS = 5


class LoadWorker(Protocol):
    """One worker, wherever it is. What ends it unasked is kept, and ``check`` raises it."""

    async def start(self) -> None:
        """Start it and wait until it works; raises ``LoadError``."""

    async def pause(self, limit_seconds: float) -> None:
        """As ``Load.pause``; what it has recorded until now can be read when this returns."""

    async def resume(self) -> None:
        """As ``Load.resume``."""

    async def stop(self) -> None:
        """End it, in order or not; what it has recorded can be read. A second call does nothing."""

    def check(self) -> None:
        """Raise what ended it."""


class Worker:
    """A process of this machine. What ends it unasked is kept, and ``check`` raises it."""

    def __init__(self, name: str, order: Order, gathered: Gathered) -> None:
        self.name = name
        self._order = order
        self._gathered = gathered
        self._begun = asyncio.Event()
        self._paused = asyncio.Event()
        self._stopping = False
        self._dead: LoadError | None = None
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        """Of its process.

        Raises:
            LoadError: it was not started.
        """
        if self._process is None:
            raise LoadError(f"{self.name} was not started")
        return self._process.pid

    async def start(self) -> None:
        """Start it, tell it what to do, and wait until it does.

        Raises:
            LoadError: it could not.
        """
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tester.load.workers.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is the tester's: it ends its workers in order
        )
        self._tasks = [
            asyncio.create_task(self._listen(self._process), name=self.name),
            asyncio.create_task(self._overhear(self._process), name=f"{self.name}, stderr"),
        ]
        await self._say(self._order.encode())
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._begun.wait()
        except TimeoutError:
            raise LoadError(f"{self.name} did not begin within {_START_SECONDS:g} s") from None
        self.check()

    async def pause(self, limit_seconds: float) -> None:
        """As ``Load.pause``."""
        self._paused.clear()
        await self._say(PAUSE)
        try:
            async with asyncio.timeout(limit_seconds):
                await self._paused.wait()
        except TimeoutError:
            raise LoadError(f"{self.name} did not pause within {limit_seconds:g} s") from None
        self.check()

    async def resume(self) -> None:
        """As ``Load.resume``."""
        await self._say(RESUME)

    async def stop(self) -> None:
        """End it, in order or not."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        with contextlib.suppress(LoadError):  # it has ended already
            await self._say(STOP)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*self._tasks)
        except TimeoutError:
            process.kill()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await process.wait()

    def check(self) -> None:
        """Raise what ended it.

        Raises:
            LoadError: it has ended, and nobody had asked for that.
        """
        if self._dead is not None:
            raise self._dead

    async def _say(self, line: bytes) -> None:
        self.check()
        process = self._process
        if process is None or process.stdin is None:
            raise LoadError(f"{self.name} was not started")
        process.stdin.write(line)
        try:
            await process.stdin.drain()
        except OSError:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.check()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise LoadError(f"{self.name} cannot be heard")
        decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
        while line := await process.stdout.readline():
            match decoder.decode(line):
                case Report() as report:
                    self._gathered.take(self.name, report)
                    self._begun.set()
                case Paused():
                    self._paused.set()
                case Failed(error, remedy):
                    self._dead = LoadError(f"{self.name}: {error}", remedy=remedy)
        status = await process.wait()
        if self._dead is None and (not self._stopping or status != 0):
            words = "; its last words: " + " | ".join(self._words) if self._words else ""
            how = f"signal {-status}" if status < 0 else f"status {status}"
            self._dead = LoadError(f"{self.name} (pid {process.pid}) died with {how}{words}")
        self._begun.set()
        self._paused.set()

    async def _overhear(self, process: asyncio.subprocess.Process) -> None:
        while process.stderr is not None and (line := await process.stderr.readline()):
            self._words.append(line.decode(errors="replace").rstrip())


MakeWorker: TypeAlias = Callable[[int, "Order", Gathered], LoadWorker]
"""Of a number, counted from 1, an order, and who takes the worker's reports."""


def local_worker(number: int, order: Order, gathered: Gathered) -> Worker:
    """A process beside the tester."""
    return Worker(f"load worker {number}", order, gathered)


class LoadFleet:
    """Workers, and a load without clients for what the tester itself writes."""

    def __init__(self, own: Load, orders: Sequence[Order], make: MakeWorker = local_worker) -> None:
        """A load that has not started.

        Args:
            own: has ``Share.rest``.
            orders: one per worker, and at least one.
            make: where workers are.
        """
        self._own = own
        self._gathered = Gathered()
        self.running = False
        """See ``Load.running``."""
        self._stressers = len(orders[0].stressers)
        self.workers = [make(number, order, self._gathered) for number, order in enumerate(orders, start=1)]
        timeouts = [stresser.timeout for order in orders for stresser in order.stressers]
        self._pause_seconds = max(timeouts, default=0.0) + _PAUSE_MARGIN_SECONDS

    async def start(self) -> None:
        """See ``Load.start``."""
        await self._own.start()
        self.running = True
        began = await asyncio.gather(*(worker.start() for worker in self.workers), return_exceptions=True)
        for failure in began:
            if failure is not None:
                raise failure

    async def pause(self) -> None:
        """See ``Load.pause``."""
        self.running = False
        await asyncio.gather(*(worker.pause(self._pause_seconds) for worker in self.workers))

    async def resume(self) -> None:
        """See ``Load.resume``."""
        await asyncio.gather(*(worker.resume() for worker in self.workers))
        self.running = True

    async def stop(self) -> None:
        """See ``Load.stop``. A second call does nothing."""
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        await self._own.stop()

    async def mark(self, timeout: float) -> int:
        """See ``Load.mark``."""
        return await self._own.mark(timeout)

    @property
    def steps(self) -> list[int]:
        """See ``Load.steps``; as of the last reports."""
        return self._gathered.steps(self._stressers)

    def totals(self) -> LoadTotals:
        """See ``Load.totals``; as of the last reports."""
        return self._gathered.totals()

    def sample(self, at_ns: int) -> LoadSample:
        """See ``Load.sample``; as of the last reports."""
        return self._gathered.sample(at_ns)

    def window(self, start_ns: int, end_ns: int) -> PhaseStats:
        """See ``Load.window``; as of the last reports."""
        return self._gathered.window(start_ns, end_ns)

    def check_alive(self) -> None:
        """See ``Load.check_alive``.

        Raises:
            LoadError: a worker died: the message has its name and its reason.
        """
        for worker in self.workers:
            worker.check()
        self._own.check_alive()
