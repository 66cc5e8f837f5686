"""From what a person writes to endpoints that answer."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from tester.errors import ClusterError, UsageError
from tester.etcd.client import EtcdClient
from tester.etcd.credentials import ClientTls, Login
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.grpc_channel import GrpcChannel
from tester.etcd.tokens import fetch_token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tester.runner.setting import Credentials

_ENDPOINT = re.compile(r"(?:(https?)://)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):(\d{1,5})/?")
_MOST_ENDPOINTS = 100
_PING_SECONDS = 6.0
"""etcd's default --grpc-keepalive-min-time is 5 s: who pings sooner loses the connection."""
_REFUSED = frozenset({StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION})


async def connect(texts: Sequence[str], credentials: Credentials, timeout: float) -> tuple[Endpoint, ...]:
    """The endpoints, in order, with what it takes to be let in.

    Args:
        texts: ``HOST:PORT``, perhaps with ``http://`` or ``https://`` before.
        credentials: files and names as given.
        timeout: seconds for a member to answer.

    Raises:
        UsageError: an endpoint, a file, or user and password are wrong.
        ClusterError: a name cannot be resolved, or no member answers in time.
    """
    tls = _tls(credentials)
    endpoints = [await _endpoint(text, tls) for text in _distinct(texts)]
    await _see_who_answers(endpoints, timeout)
    if not credentials.user:
        return tuple(endpoints)
    login = Login(credentials.user, credentials.password)
    await _see_that_it_is_let_in(endpoints, login, timeout)
    return tuple(replace(endpoint, login=login) for endpoint in endpoints)


def _distinct(texts: Sequence[str]) -> tuple[str, ...]:
    given = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not given:
        raise UsageError("no endpoint is given", remedy="write for example --endpoints 192.0.2.11:2379")
    if len(given) > _MOST_ENDPOINTS:
        raise UsageError(f"{len(given)} endpoints are too many", remedy=f"name at most {_MOST_ENDPOINTS}")
    return given


async def _endpoint(text: str, tls: ClientTls | None) -> Endpoint:
    match = _ENDPOINT.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise UsageError(f"--endpoints {text}: no HOST:PORT", remedy="write for example 192.0.2.11:2379")
    scheme, host, port = match[1], match[2].strip("[]"), int(match[3])
    if scheme == "https" and tls is None:
        raise UsageError(f"{text} speaks TLS", remedy="say with --cacert who vouches for it")
    if scheme == "http" and tls is not None:
        raise UsageError(
            f"{text} speaks no TLS, and --cacert is given", remedy="write https://, or drop --cacert"
        )
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ClusterError(
            f"{text}: {host} cannot be resolved: {error}", remedy="look at --endpoints"
        ) from error
    address = str(found[0][4][0])
    named = None if tls is None else replace(tls, server_name=host)
    return Endpoint(f"{match[2]}:{port}", address, port, named, ping_seconds=_PING_SECONDS)


def _tls(credentials: Credentials) -> ClientTls | None:
    pair = (credentials.certificate, credentials.key)
    if (pair[0] is None) != (pair[1] is None):
        raise UsageError("--cert and --key belong together", remedy="give both or none")
    if credentials.ca is None:
        if pair[0] is not None:
            raise UsageError(
                "--cert without --cacert", remedy="say with --cacert who vouches for the members"
            )
        return None
    tls = ClientTls(ca=_read(credentials.ca), certificate=_read(pair[0]), key=_read(pair[1]))
    try:
        tls.context()
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(f"--cacert, --cert or --key: {error}", remedy="look at these files") from error
    return tls


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise UsageError(f"{path}: there is no PEM in it")
    return data


async def _see_who_answers(endpoints: Sequence[Endpoint], timeout: float) -> None:
    """At least one must: a cluster whose other members are down is what a runner may be for."""
    errors = await asyncio.gather(*(_status(endpoint, timeout) for endpoint in endpoints))
    if all(errors):
        told = "\n".join(
            f"{endpoint.member}: {error}" for endpoint, error in zip(endpoints, errors, strict=True)
        )
        raise ClusterError(
            f"no endpoint answers within {timeout:g} s\n{told}",
            remedy="look at --endpoints, and at --cacert, --cert and --key if the members speak TLS",
        )


async def _status(endpoint: Endpoint, timeout: float) -> str:
    client = EtcdClient(endpoint, GrpcChannel(endpoint), timeout)
    try:
        await client.status()
    except RpcError as error:
        # A member that asks who we are has answered.
        return "" if error.text.startswith("etcdserver: ") else str(error)
    finally:
        await client.close()
    return ""


async def _see_that_it_is_let_in(endpoints: Sequence[Endpoint], login: Login, timeout: float) -> None:
    """A wrong password is told before anything starts; tokens are fetched by whoever needs one."""
    said: dict[str, str] = {}
    for endpoint in endpoints:
        channel = GrpcChannel(endpoint)
        try:
            async with asyncio.timeout(timeout):
                await fetch_token(channel, login)
        except (RpcError, TimeoutError) as error:
            if isinstance(error, RpcError) and error.code in _REFUSED:
                raise UsageError(
                    f"--user {login.user}: {error.text}", remedy="look at --user and --password"
                ) from error
            said[endpoint.member] = str(error) or "no answer"
        else:
            return
        finally:
            await channel.close()
    told = "; ".join(f"{member}: {error}" for member, error in said.items())
    raise ClusterError(f"nobody could log {login.user} in: {told}")
