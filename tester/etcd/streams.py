"""Streams to a member over grpc.aio, each with a connection of its own, as its endpoint says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.grpc_channel import open_channel, open_plain, token_metadata
from tester.etcd.h2 import H2Channel
from tester.etcd.relay import TlsRelay
from tester.etcd.tokens import fetch_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tester.etcd.endpoint import Endpoint


@asynccontextmanager
async def own_connection(endpoint: Endpoint) -> AsyncIterator[grpc.aio.Channel]:
    """A connection for one stream, and closed with it."""
    tls = endpoint.tls
    if tls is None or tls.ca is not None:
        channel = open_channel(endpoint)
        try:
            yield channel
        finally:
            await channel.close(None)
        return
    async with TlsRelay(endpoint, tls.context()) as relay:
        channel = open_plain(relay.target, endpoint)
        try:
            yield channel
        finally:
            await channel.close(None)


@asynccontextmanager
async def ended_by_goaway(channel: grpc.aio.Channel, call: grpc.aio.Call) -> AsyncIterator[None]:
    """Cancel a stream as soon as its member says that it goes away.

    gRPC lets a stream run on after a GOAWAY, and a member that was sent SIGTERM waits for the end of each, some 7 s:
    then it cuts them off. Nothing is missed: whoever has a stream of ours opens another where this one ended.
    To who reads or writes it is as if the member had ended it: ``unless_left``.
    """
    watch = asyncio.create_task(_cancel_when_leaving(channel, call))
    try:
        yield
    finally:
        watch.cancel()
        # Not awaited itself: whoever is cancelled while it ends must find out.
        await asyncio.wait({watch})
        if not watch.cancelled():
            watch.result()


@contextmanager
def unless_left(stream: str) -> Iterator[None]:
    """Around reading or writing a stream: its own cancellation is an end like another, the caller's is not.

    Raises:
        RpcError: the stream was cancelled.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RpcError(StatusCode.UNAVAILABLE, f"the {stream} was closed: the member goes away") from None


async def _cancel_when_leaving(channel: grpc.aio.Channel, call: grpc.aio.Call) -> None:
    while (state := channel.get_state()) is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
    call.cancel()


async def own_token(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """What a new stream shows: a new token, where the endpoint has a user. Streams are rare.

    Raises:
        RpcError: the member gave none.
    """
    if endpoint.login is None:
        return ()
    channel = H2Channel(endpoint)
    try:
        return token_metadata(await fetch_token(channel, endpoint.login))
    finally:
        await channel.close()
