"""``Channel`` over grpc.aio, and the options that gRPC connections of the tester have."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

import grpc
import grpc.aio

from tester.etcd.channel import Method
from tester.etcd.errors import RpcError, StatusCode

if TYPE_CHECKING:
    from tester.etcd.endpoint import Endpoint

_UnaryCall: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"

# etcd's own limit is 1.5 MiB a request, but an answer (a page of large values, a thousand revisions for a
# watcher that catches up) may be much larger.
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024

# Pings find a silent stall before the deadline. A member allows one every 5 s while it sends nothing, and ends the
# connection for more: those that are started here have --grpc-keepalive-min-time 500ms, others a slower endpoint.
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_retries", 0),  # a hidden retry of a write ruins a history
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),  # or channels of one process silently share a connection
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.http2.ping_timeout_ms", 1000),  # without it newer cores wait a minute for a keepalive's answer
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),  # in truth the limit of one attempt to connect
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)


def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """A channel that needs no resolver.

    Raises:
        ValueError: TLS without a CA, which gRPC cannot do.
    """
    target = f"ipv{ip_address(endpoint.address).version}:{endpoint.authority}"
    tls = endpoint.tls
    if tls is None:
        return open_plain(target, endpoint)
    if tls.ca is None:
        raise ValueError("gRPC does not speak TLS to somebody whom no CA vouches for")
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    name = ("grpc.ssl_target_name_override", tls.server_name or endpoint.address)
    return grpc.aio.secure_channel(target, credentials, options=(*_options(endpoint), name))


def open_plain(target: str, endpoint: Endpoint) -> grpc.aio.Channel:
    """A plain-text channel to what gRPC calls a target, where ``endpoint`` is reached."""
    return grpc.aio.insecure_channel(target, options=_options(endpoint))


def _options(endpoint: Endpoint) -> tuple[tuple[str, int], ...]:
    return (*_OPTIONS, ("grpc.keepalive_time_ms", round(endpoint.ping_seconds * 1000)))


def token_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """How a call shows etcd's auth token."""
    return () if token is None else (("token", token),)


def rpc_error(error: grpc.aio.AioRpcError) -> RpcError:
    """The same error in the tester's words."""
    return RpcError(StatusCode(error.code().name), error.details() or "")


class GrpcChannel:
    """One grpc.aio channel to one member."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._channel = open_channel(endpoint)
        self._calls: dict[Method, _UnaryCall] = {
            method: self._channel.unary_unary(method.value, None, None) for method in Method
        }
        self._metadata: tuple[tuple[str, str], ...] = ()

    def use_token(self, token: str | None) -> None:
        """See ``TokenChannel.use_token``."""
        self._metadata = token_metadata(token)

    async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        """See ``Channel.call``."""
        try:
            return await self._calls[method](request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not this task but the call was cancelled: the channel is being closed.
            raise RpcError(StatusCode.CANCELLED, "the channel was closed") from None

    async def close(self) -> None:
        """See ``Channel.close``."""
        await self._channel.close(None)
