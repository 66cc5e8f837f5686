"""Whoever is cancelled while a stream is being left finds out: else it goes on, and whoever ended it waits for ever."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tester.clock import RunClock
from tester.etcd.endpoint import Endpoint
from tester.etcd.keepalive import KeepAliveStream, _Open
from tester.etcd.streams import ended_by_goaway
from tester.load.watcher import Watcher, _End
from tests.unit.load.fakes import Sink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENDPOINT = Endpoint("m", "127.0.0.1", 1)


class Call:
    """A stream that is cancelled without more ado."""

    def cancel(self) -> bool:
        return True


class Slow:
    """A channel whose waiting takes a moment to end when it is cancelled, as that of grpc.aio may."""

    def get_state(self) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, state: grpc.ChannelConnectivity) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)


async def leave_a_connection() -> None:
    channel: Any = Slow()
    call: Any = Call()
    async with ended_by_goaway(channel, call):
        await asyncio.sleep(0)


def renewing(closing: Callable[[], Awaitable[None]]) -> KeepAliveStream:
    call: Any = Call()
    stream, connection = KeepAliveStream(ENDPOINT), AsyncExitStack()
    connection.push_async_callback(closing)
    stream._open = _Open(connection, call)
    return stream


async def leave_a_stream_of_renewals() -> None:
    await renewing(lambda: asyncio.sleep(0.1)).close()


@pytest.mark.parametrize("leave", [leave_a_connection, leave_a_stream_of_renewals])
async def test_whoever_is_cancelled_meanwhile_finds_out(leave: Callable[[], Awaitable[None]]) -> None:
    await leave()  # the control: nobody is cancelled, and nothing is raised
    went_on = False

    async def leaver() -> None:
        nonlocal went_on
        await leave()
        went_on = True

    task = asyncio.create_task(leaver())
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not went_on


async def test_the_end_of_the_stream_itself_is_nobodys_cancellation() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    await renewing(cancelled).close()


async def test_a_watcher_stops_even_if_its_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def deaf(self: Watcher) -> _End:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return _End("lost")
        raise AssertionError

    monkeypatch.setattr(Watcher, "_watch", deaf)
    watcher = Watcher(1, ENDPOINT, Sink(), RunClock(), "p/", 2)
    await watcher.start()
    await begun.wait()
    async with asyncio.timeout(30):
        await watcher.stop()
