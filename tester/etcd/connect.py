"""Channels to a member, as its endpoint says: plain or over TLS, as nobody or as a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.h2 import H2Channel
from tester.etcd.tokens import LoginChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.etcd.channel import Channel
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.tokens import TokenChannel


def connect_grpc(endpoint: Endpoint) -> Channel:
    """Over grpc.aio."""
    return _as_user(GrpcChannel(endpoint), endpoint)


def connect_h2(endpoint: Endpoint, before_send: Callable[[], None] | None = None) -> Channel:
    """Over our own HTTP/2; ``before_send`` as ``H2Channel`` has it."""
    return _as_user(H2Channel(endpoint, before_send=before_send), endpoint)


def connect(endpoint: Endpoint) -> Channel:
    """For everything but the load: a token that is gone is fetched at once.

    grpc.aio verifies certificates always, and auto-TLS has none that would pass.
    """
    channel: TokenChannel = GrpcChannel(endpoint) if endpoint.tls is None else H2Channel(endpoint)
    return _as_user(channel, endpoint, again=True)


def _as_user(channel: TokenChannel, endpoint: Endpoint, *, again: bool = False) -> Channel:
    return channel if endpoint.login is None else LoginChannel(channel, endpoint.login, again=again)
