"""A worker on a load host, behind the same seam as one beside the tester."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from pydantic import SecretStr

from agent_client.errors import AgentClientError, AgentUnreachableError
from agent_service.models import LoadEndpoint, LoadLogin, LoadOrder, LoadRequest, LoadTls
from tester.errors import LoadError
from tester.load.hosts.mapping import RecordMapper
from tester.load.hosts.partfile import PartFile
from tester.load.workers.messages import Failed, Message, Paused, Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tester.load.hosts.hostclock import HostClock
    from tester.load.hosts.loadhost import LoadHost
    from tester.load.workers.gathered import Gathered
    from tester.load.workers.messages import Order

T = TypeVar("T")

LEASE_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 10.0
"""An agent that does not answer for so long is gone. Less than the lease: nothing ends in silence before that."""
_START_SECONDS: Final = 60.0
_WAIT_SECONDS: Final = 1.0
_FETCH_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.2


class HostedWorker:
    """A ``LoadWorker`` that an agent holds. Its history comes here while it is written, on the run clock."""

    def __init__(self, name: str, worker_id: str, order: Order, host: LoadHost, gathered: Gathered) -> None:
        """One that was not started; ``worker_id`` is its name on the host."""
        self.name = name
        self._id = worker_id
        self._order = order
        self._host = host
        self._gathered = gathered
        self._mapper = RecordMapper(name)
        self._part = PartFile(order.history)
        self._fetched = 0
        self._fetching = asyncio.Lock()
        self._begun = asyncio.Event()
        self._paused = asyncio.Event()
        self._stopping = False
        self._dead: LoadError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See ``LoadWorker.start``."""
        self._part.create()
        request = LoadRequest(order=wire_order(self._order), lease_seconds=LEASE_SECONDS)
        async with self._agent_errors():
            await self._host.measure()
            self._host.begin()
            await self._host.agent.start_load(self._id, request)
        self._tasks = [
            asyncio.create_task(self._listen(), name=self.name),
            asyncio.create_task(self._follow(), name=f"{self.name}, history"),
        ]
        await self._wait(self._begun, _START_SECONDS, "begin")

    async def pause(self, limit_seconds: float) -> None:
        """See ``LoadWorker.pause``."""
        self.check()
        self._paused.clear()
        async with self._agent_errors():
            await self._host.agent.pause_load(self._id)
        await self._wait(self._paused, limit_seconds, "pause")
        async with self._agent_errors():
            await self._fetch(drained=True)
        self._record_clock()

    async def resume(self) -> None:
        """See ``LoadWorker.resume``."""
        self.check()
        async with self._agent_errors():
            await self._host.agent.resume_load(self._id)

    async def stop(self) -> None:
        """See ``LoadWorker.stop``. A host that does not answer ends its load by itself, and is told of."""
        if self._stopping or not self._tasks:
            return
        self._stopping = True
        agent = self._host.agent
        try:
            await agent.stop_load(self._id)
            await asyncio.wait(self._tasks, timeout=_SILENT_SECONDS)
            await self._fetch(drained=True)
            self._record_clock()
            self._host.end()
            await agent.remove_load(self._id)
        except (AgentClientError, LoadError) as error:
            self._host.warn(
                f"{self.name} was not ended in order: {error}; it ends by itself, and is cleaned up"
            )
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """See ``LoadWorker.check``."""
        if self._dead is not None:
            raise self._dead

    async def _wait(self, event: asyncio.Event, limit_seconds: float, what: str) -> None:
        try:
            async with asyncio.timeout(limit_seconds):
                await event.wait()
        except TimeoutError:
            raise LoadError(f"{self.name} did not {what} within {limit_seconds:g} s") from None
        self.check()

    async def _listen(self) -> None:
        """Hear it to its end."""
        try:
            end = await self._hear_all()
            if not self._stopping and self._dead is None:
                self._dead = LoadError(f"{self.name} ended: {end}")
        except msgspec.MsgspecError as error:
            self._dead = LoadError(f"{self.name} says what nobody understands: {error}")
        except LoadError as error:
            self._dead = self._dead or error
        except Exception as error:  # noqa: BLE001 - a defect: nobody hears the worker any more
            self._dead = self._dead or LoadError(f"{self.name} is heard no more: {error!r}")
        finally:
            self._begun.set()
            self._paused.set()

    async def _hear_all(self) -> str:
        """How it ended."""
        decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
        after = 0
        while True:
            ask = partial(self._host.agent.load_messages, self._id, after, _WAIT_SECONDS)
            heard = await self._patiently(ask)
            if heard.first != after:
                raise LoadError(f"{self.name} was not heard for too long: reports are lost")
            after = heard.next
            for line in heard.lines:
                self._hear(decoder.decode(line))
            if not heard.lines and not heard.status.running:
                return heard.status.end

    def _hear(self, message: Message) -> None:
        match message:
            case Report() as report:
                self._gathered.take(self.name, on_run_clock(report, self._host.clock.now()[0]))
                self._begun.set()
            case Paused():
                self._paused.set()
            case Failed(error, remedy):
                self._dead = LoadError(f"{self.name}: {error}", remedy=remedy)

    async def _follow(self) -> None:
        """Fetch the history while it is written: a host that is lost takes little of it along."""
        try:
            while not self._stopping:
                await asyncio.sleep(_FETCH_SECONDS)
                await self._patiently(self._fetch)
        except LoadError as error:
            self._dead = self._dead or error
        except Exception as error:  # noqa: BLE001 - a defect: its history comes no more
            self._dead = self._dead or LoadError(f"{self.name}: its history comes no more: {error!r}")

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of the agent, which may be out of reach for a while.

        Raises:
            LoadError: it refused, or was silent for too long.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            try:
                async with self._agent_errors():
                    return await ask()
            except LoadError as error:
                silent = isinstance(error.__cause__, AgentUnreachableError)
                if self._stopping or not silent or loop.time() - since > _SILENT_SECONDS:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _fetch(self, *, drained: bool = False) -> None:
        """What was written since, on the run clock; with ``drained``, to the last record of a load that rests."""
        async with self._fetching:
            while chunk := await self._host.agent.load_history(self._id, self._fetched):
                self._mapper.take(chunk, self._host.run_clock.now())
                self._fetched += len(chunk)
            await self._host.measure()
            await asyncio.to_thread(self._write, self._host.clock.as_of_now(), drained=drained)

    def _write(self, clock: HostClock, *, drained: bool) -> None:
        self._part.append(self._mapper.settled(clock, drained=drained))

    def _record_clock(self) -> None:
        self._host.record(self._mapper.error)
        self._mapper.error = 0

    @asynccontextmanager
    async def _agent_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except AgentClientError as error:
            raise LoadError(f"{self.name}: {error.message}", remedy=error.remedy) from error


def on_run_clock(report: Report, offset: int) -> Report:
    """The same with times of the run clock, as good as the offset is: statistics are no evidence."""
    return msgspec.structs.replace(
        report,
        stretches=[msgspec.structs.replace(one, start_ns=one.start_ns - offset) for one in report.stretches],
        gaps=[(start - offset, end - offset) for start, end in report.gaps],
        waiting_since_ns=None if report.waiting_since_ns is None else report.waiting_since_ns - offset,
    )


def wire_order(order: Order) -> LoadOrder:
    """What a host has to know of an order. All endpoints are asked by the same client.

    Raises:
        ValueError: they are not.
    """
    clients = {(endpoint.tls, endpoint.login) for endpoint in order.endpoints}
    if len(clients) != 1:
        raise ValueError("endpoints differ in who asks them")
    ((tls, login),) = clients
    return LoadOrder(
        stressers=tuple(stresser.model_dump(mode="json") for stresser in order.stressers),
        endpoints=tuple(
            LoadEndpoint(member=one.member, address=one.address, port=one.port) for one in order.endpoints
        ),
        tls=None
        if tls is None
        else LoadTls(
            ca=None if tls.ca is None else tls.ca.decode(),
            certificate=None if tls.certificate is None else tls.certificate.decode(),
            key=None if tls.key is None else SecretStr(tls.key.decode()),
        ),
        login=None if login is None else LoadLogin(user=login.user, password=SecretStr(login.password)),
        seed=order.seed,
        prefix=order.prefix,
        number=order.share.number,
        workers=order.share.workers,
        transport="grpc" if order.over_grpc else "h2",
    )
