"""etcd's auth tokens: fetched when a call needs one, fetched again when a member no longer takes it.

A token is lost when it expires, and with the member that issued it: simple tokens live in its memory. The call that
finds out fails, as it would for any client, and is recorded so; nothing is repeated. The next one fetches a new token
first, and every call that waits for that has been sent to nobody yet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from etcd3.etcdrpc import rpc_pb2 as pb
from google.protobuf.message import DecodeError

from tester.etcd.channel import Channel, Method
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.h2.status import NotProcessedError

if TYPE_CHECKING:
    from tester.etcd.credentials import Login

_TOKEN_SECONDS = 5.0
_NOT_ENABLED = "etcdserver: authentication is not enabled"
_NO_LONGER_TAKEN = frozenset(
    {
        "etcdserver: invalid auth token",
        "etcdserver: user name is empty",
        "etcdserver: user name not found",
        "etcdserver: revision of auth store is old",
    }
)


class TokenChannel(Channel, Protocol):
    """A channel that shows a token with every call."""

    def use_token(self, token: str | None) -> None:
        """Show this one from the next call on; ``None``: none.

        Raises:
            ValueError: it cannot be sent.
        """
        ...


class LoginChannel:
    """A channel of a user. While authentication is not enabled, calls go without a token.

    ``again``: a call that was refused for its token is made once more with a new one. Not for a load: it records
    what a client is told.
    """

    def __init__(self, inner: TokenChannel, login: Login, *, again: bool = False) -> None:
        self._inner = inner
        self._login = login
        self._again = again
        self._token: str | None = None
        self._wanted = True
        self._fetching: asyncio.Task[None] | None = None

    async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        """See ``Channel.call``. Fetching a token takes from the same time."""
        if not self._again:
            return await self._call(method, request, timeout_seconds)
        began = asyncio.get_running_loop().time()
        try:
            return await self._call(method, request, timeout_seconds)
        except RpcError:
            left = timeout_seconds - (asyncio.get_running_loop().time() - began)
            if not self._wanted or left <= 0:
                raise
        return await self._call(method, request, left)

    async def _call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        if self._wanted:
            began = asyncio.get_running_loop().time()
            await self._fetch(timeout_seconds)
            timeout_seconds -= asyncio.get_running_loop().time() - began
            if timeout_seconds <= 0:
                raise NotProcessedError(StatusCode.DEADLINE_EXCEEDED, "never sent: no token in time")
        shown = self._token
        try:
            return await self._inner.call(method, request, timeout_seconds)
        except RpcError as error:
            # Whom a member knows by a certificate alone it takes for a user of that name.
            nobody = shown is None and error.code is StatusCode.PERMISSION_DENIED
            if (error.text in _NO_LONGER_TAKEN or nobody) and shown == self._token:
                self._wanted = True
            raise

    async def close(self) -> None:
        """See ``Channel.close``."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._inner.close()

    async def _fetch(self, timeout_seconds: float) -> None:
        """One request for all that wait."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._authenticate(), name="fetch a token")
            self._fetching.add_done_callback(self._fetched)
        fetching = self._fetching
        done, _ = await asyncio.wait({fetching}, timeout=timeout_seconds)
        if not done:
            raise NotProcessedError(StatusCode.DEADLINE_EXCEEDED, "never sent: no token in time")
        if fetching.cancelled():
            raise NotProcessedError(StatusCode.CANCELLED, "never sent: the channel was closed")
        if (error := fetching.exception()) is not None:
            if isinstance(error, RpcError):
                raise NotProcessedError(error.code, f"never sent: no token: {error.text}") from error
            raise error

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # whoever waits raises it; nobody may wait any more

    async def _authenticate(self) -> None:
        self._inner.use_token(None)  # a stale one would be refused here, too
        try:
            token: str | None = await fetch_token(self._inner, self._login)
        except RpcError as error:
            if error.text != _NOT_ENABLED:
                raise
            token = None
        self._token = token
        self._inner.use_token(token)
        self._wanted = False


async def fetch_token(channel: Channel, login: Login) -> str:
    """A new token for a user.

    Raises:
        RpcError: wrong password, authentication not enabled, or the member cannot answer.
    """
    request = pb.AuthenticateRequest(name=login.user, password=login.password)
    answer = await channel.call(Method.AUTHENTICATE, request.SerializeToString(), _TOKEN_SECONDS)
    try:
        return str(pb.AuthenticateResponse.FromString(answer).token)
    except DecodeError as error:
        raise RpcError(StatusCode.INTERNAL, "no answer to Authenticate") from error
