"""One client: asks, records, waits, asks again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from google.protobuf.message import DecodeError

from tester.etcd import codec
from tester.etcd.errors import RpcError, StatusCode
from tester.history.records import Fail, Info, Invoke, LeaseKeepAlive, Ok
from tester.load.statistics import Outcome, Statistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from tester.clock import RunClock
    from tester.etcd.channel import Channel
    from tester.etcd.codec import LoadOperation
    from tester.etcd.keepalive import KeepAliveStream
    from tester.history.records import Result
    from tester.history.writer import Recorder
    from tester.load.pacer import Pacer

# A client whose member is down keeps trying, but not in a hot loop; short enough to notice that it is back.
_BACKOFF_FIRST_SECONDS = 0.05
_BACKOFF_LAST_SECONDS = 0.25


_Op = TypeVar("_Op", bound="LoadOperation")


class Source(Protocol[_Op]):
    """Where a client's operations come from."""

    def draw(self) -> _Op:
        """The next operation."""
        ...

    def learn(self, op: _Op, revision: int, result: Result | None) -> None:
        """Take in an acknowledged answer."""
        ...

    def lost(self, op: _Op) -> None:
        """The operation failed, or nobody knows."""
        ...


@dataclass(slots=True)
class Shared:
    """What all clients of a load have in common."""

    recorder: Recorder
    clock: RunClock
    statistics: Statistics
    operation_ids: Iterator[int]
    gate: asyncio.Event
    """Set while the load runs, clear while it is paused."""
    absent: set[str] = field(default_factory=set)
    """Who is no member now: nobody asks them anything."""


class Client:
    """Operations on one member: one at a time, never repeated."""

    def __init__(
        self,
        number: int,
        member: str,
        channel: Channel,
        timeout: float,
        shared: Shared,
        renewals: KeepAliveStream | None = None,
    ) -> None:
        """A client.

        Args:
            number: of this client in the history.
            member: the one it asks.
            channel: to that member.
            timeout: deadline of each operation, in seconds.
            shared: with the other clients.
            renewals: what keepalives of leases go over; a client without it must not be asked for any.
        """
        self.number = number
        self.member = member
        self.timeout = timeout
        self.busy_since_ns: int | None = None
        """When the operation in flight was invoked."""
        self._channel = channel
        self._shared = shared
        self._operation_ids = shared.operation_ids
        self._now = shared.clock.now
        self._record = shared.recorder.write
        self._statistics = shared.statistics
        self._renewals = renewals

    async def run(self, source: Source[_Op], pacer: Pacer) -> None:
        """Operations until cancelled. Returns never; raises only what is a defect or a full disk."""
        backoff = _BACKOFF_FIRST_SECONDS
        gate, absent = self._shared.gate, self._shared.absent
        while True:
            # Nothing to wait for, nearly always: a look costs less than three coroutines that find that out.
            at_once = pacer.unlimited and gate.is_set() and self.member not in absent
            late = 0 if at_once else await self.turn(pacer)
            op = source.draw()
            answer = await self.perform(op, late)
            if answer is None:
                source.lost(op)
                if pacer.open:
                    continue  # the clock asks for the next one, whatever became of this
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _BACKOFF_LAST_SECONDS)
            else:
                source.learn(op, answer.revision, answer.result)
                backoff = _BACKOFF_FIRST_SECONDS

    async def turn(self, pacer: Pacer) -> int:
        """Wait until the load runs, the member is one, and it is time; since when it is due, in nanoseconds."""
        gate, absent = self._shared.gate, self._shared.absent
        while True:
            await gate.wait()
            late = await pacer.slot()
            if not gate.is_set():
                continue
            if self.member not in absent:
                return late
            await asyncio.sleep(_BACKOFF_LAST_SECONDS)

    async def perform(self, op: LoadOperation, late_ns: int = 0) -> codec.Answer | None:
        """One operation, recorded from invocation to outcome; its answer if the outcome is ``ok``.

        ``late_ns``: since when it is due; its latency counts from then.
        """
        identifier = next(self._operation_ids)
        invoked = self.busy_since_ns = self._now()
        self._record(Invoke(id=identifier, at=invoked, c=self.number, m=self.member, op=op))
        try:
            if isinstance(op, LeaseKeepAlive):
                response = await self._renew(op)
            else:
                method, request = codec.request(op)
                response = await self._channel.call(method, request, self.timeout)
            answer = codec.answer(op, response)
        except RpcError as error:
            self._not_ok(identifier, invoked - late_ns, op, error)
            return None
        except DecodeError as error:
            no_answer = RpcError(StatusCode.INTERNAL, f"no answer to it: {error}")
            self._not_ok(identifier, invoked - late_ns, op, no_answer)
            return None
        except asyncio.CancelledError:
            stopped = RpcError(StatusCode.CANCELLED, "the load was stopped")
            self._not_ok(identifier, invoked - late_ns, op, stopped)
            raise
        finally:
            self.busy_since_ns = None
        ended = self._now()
        self._record(Ok(id=identifier, at=ended, rev=answer.revision, term=answer.term, out=answer.result))
        self._statistics.answered(ended, ended - invoked + late_ns, late_ns)
        return answer

    def _renew(self, op: LeaseKeepAlive) -> Awaitable[bytes]:
        if self._renewals is None:
            raise ValueError("a client without a stream of renewals was asked to keep a lease alive")
        return self._renewals.call(codec.keepalive_request(op), self.timeout)

    def _not_ok(self, identifier: int, due: int, op: LoadOperation, error: RpcError) -> None:
        ended = self._now()
        # A read that failed changed nothing, however it failed.
        surely_not = error.definite or not codec.is_write(op)
        record = Fail if surely_not else Info
        self._record(record(id=identifier, at=ended, error=error.code.value, text=error.text))
        outcome = Outcome.FAIL if surely_not else Outcome.INFO
        self._statistics.add(ended, ended - due, outcome, error.kind)
