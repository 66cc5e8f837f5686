"""Streams to a member over grpc.aio, each with a connection of its own, as its endpoint says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tester.etcd.grpc_channel import open_channel, open_plain, token_metadata
from tester.etcd.h2 import H2Channel
from tester.etcd.relay import TlsRelay
from tester.etcd.tokens import fetch_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

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
