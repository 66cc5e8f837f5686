"""One client: asks, records, waits, asks again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from tester.etcd import codec
from tester.etcd.errors import RpcError, StatusCode
from tester.history.records import Fail, Info, Invoke, Ok
from tester.load.statistics import Outcome, Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.clock import RunClock
    from tester.etcd.channel import Channel
    from tester.etcd.codec import KvOperation
    from tester.history.writer import Recorder
    from tester.load.operations import OperationSource
    from tester.load.pacer import Pacer

# A client whose member is down keeps trying, but not in a hot loop; short enough to notice that it is back.
_BACKOFF_FIRST_SECONDS = 0.05
_BACKOFF_LAST_SECONDS = 0.25


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
    """A closed loop of operations on one member: one at a time, never repeated."""

    def __init__(self, number: int, member: str, channel: Channel, timeout: float, shared: Shared) -> None:
        self.number = number
        self.member = member
        self.timeout = timeout
        self.busy_since_ns: int | None = None
        """When the operation in flight was invoked."""
        self._channel = channel
        self._shared = shared

    async def run(self, source: OperationSource, pacer: Pacer) -> None:
        """Operations until cancelled. Returns never; raises only what is a defect or a full disk."""
        gate = self._shared.gate
        backoff = _BACKOFF_FIRST_SECONDS
        while True:
            await gate.wait()
            await pacer.slot()
            if not gate.is_set():
                continue
            if self.member in self._shared.absent:
                await asyncio.sleep(_BACKOFF_LAST_SECONDS)
                continue
            op = source.draw()
            answer = await self.perform(op)
            if answer is None:
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _BACKOFF_LAST_SECONDS)
            else:
                source.learn(op, answer.revision, answer.result)
                backoff = _BACKOFF_FIRST_SECONDS

    async def perform(self, op: KvOperation) -> codec.Answer | None:
        """One operation, recorded from invocation to outcome; its answer if the outcome is ``ok``."""
        method, request = codec.request(op)
        shared = self._shared
        identifier = next(shared.operation_ids)
        invoked = shared.clock.now()
        self.busy_since_ns = invoked
        shared.recorder.write(Invoke(id=identifier, at=invoked, c=self.number, m=self.member, op=op))
        try:
            response = await self._channel.call(method, request, self.timeout)
            answer = codec.answer(op, response)
        except RpcError as error:
            self._not_ok(identifier, invoked, op, error)
            return None
        except DecodeError as error:
            self._not_ok(identifier, invoked, op, RpcError(StatusCode.INTERNAL, f"no answer to it: {error}"))
            return None
        except asyncio.CancelledError:
            self._not_ok(identifier, invoked, op, RpcError(StatusCode.CANCELLED, "the load was stopped"))
            raise
        finally:
            self.busy_since_ns = None
        ended = shared.clock.now()
        shared.recorder.write(
            Ok(id=identifier, at=ended, rev=answer.revision, term=answer.term, out=answer.result)
        )
        shared.statistics.add(ended, ended - invoked, Outcome.OK)
        return answer

    def _not_ok(self, identifier: int, invoked: int, op: KvOperation, error: RpcError) -> None:
        shared = self._shared
        ended = shared.clock.now()
        # A read that failed changed nothing, however it failed.
        surely_not = error.definite or not codec.is_write(op)
        record = Fail if surely_not else Info
        shared.recorder.write(record(id=identifier, at=ended, error=error.code.value, text=error.text))
        outcome = Outcome.FAIL if surely_not else Outcome.INFO
        shared.statistics.add(ended, ended - invoked, outcome, error.kind)
