"""Tokens against a member that answers from memory."""

from __future__ import annotations

import asyncio

import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tester.etcd.credentials import Login
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.tokens import LoginChannel

RIGHT = Login("u", "right")
INVALID = "etcdserver: invalid auth token"


class AuthMember:
    """Takes its newest token; ``enabled`` False: authentication is off."""

    def __init__(self) -> None:
        self.enabled = True
        self.issued = 0
        self.valid: str | None = None
        self.shown: str | None = None
        self.calls: list[tuple[Method, str | None]] = []
        self.closed = False

    def use_token(self, token: str | None) -> None:
        self.shown = token

    async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        shown = self.shown
        self.calls.append((method, shown))
        await asyncio.sleep(0)
        if method is Method.AUTHENTICATE:
            if not self.enabled:
                raise RpcError(StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
            if pb.AuthenticateRequest.FromString(request).password != RIGHT.password:
                raise RpcError(StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed")
            self.issued += 1
            self.valid = f"token {self.issued}"
            return bytes(pb.AuthenticateResponse(token=self.valid).SerializeToString())
        if self.enabled and shown is None:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")
        if self.enabled and shown != self.valid:
            raise RpcError(StatusCode.UNAUTHENTICATED, INVALID)
        return b"done"

    async def close(self) -> None:
        self.closed = True


async def put(channel: LoginChannel, timeout: float = 1.0) -> str:
    try:
        return (await channel.call(Method.PUT, b"", timeout)).decode()
    except RpcError as error:
        return error.text if error.definite else f"nobody knows: {error}"


async def test_many_calls_wait_for_one_token() -> None:
    member = AuthMember()
    channel = LoginChannel(member, RIGHT)
    assert await asyncio.gather(*(put(channel) for _ in range(9))) == ["done"] * 9
    assert member.issued == 1


async def test_a_token_that_is_gone_fails_what_showed_it_and_nothing_is_repeated() -> None:
    member = AuthMember()
    channel = LoginChannel(member, RIGHT)
    assert await put(channel) == "done"
    member.valid = "another"
    assert await asyncio.gather(*(put(channel) for _ in range(3))) == [INVALID] * 3
    assert await asyncio.gather(*(put(channel) for _ in range(3))) == ["done"] * 3
    assert member.issued == 2
    assert sum(method is Method.PUT for method, _ in member.calls) == 7
    assert all(shown is None for method, shown in member.calls if method is Method.AUTHENTICATE)


async def test_a_call_that_is_not_recorded_is_made_again_once() -> None:
    member = AuthMember()
    channel = LoginChannel(member, RIGHT, again=True)
    assert await put(channel) == "done"
    member.valid = "another"
    assert await asyncio.gather(*(put(channel) for _ in range(3))) == ["done"] * 3
    assert member.issued == 2
    wrong = LoginChannel(member, Login("u", "wrong"), again=True)
    assert await put(wrong) == "never sent: no token: etcdserver: authentication failed"


async def test_before_authentication_is_enabled_calls_go_without_a_token() -> None:
    member = AuthMember()
    member.enabled = False
    channel = LoginChannel(member, RIGHT)
    assert [await put(channel) for _ in range(3)] == ["done"] * 3
    assert sum(method is Method.AUTHENTICATE for method, _ in member.calls) == 1
    member.enabled = True
    assert [await put(channel) for _ in range(2)] == ["etcdserver: user name is empty", "done"]


async def test_a_wrong_password_is_an_outcome_and_is_not_told() -> None:
    channel = LoginChannel(AuthMember(), Login("u", "wrong"))
    for _ in range(2):
        assert await put(channel) == "never sent: no token: etcdserver: authentication failed"
    assert "wrong" not in repr(Login("u", "wrong"))


async def test_a_token_that_does_not_come_ends_with_the_deadline() -> None:
    class Silent(AuthMember):
        async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError

    member = Silent()
    channel = LoginChannel(member, RIGHT)
    assert await put(channel, 0.02) == "never sent: no token in time"
    waiting = asyncio.create_task(put(channel, 60))
    await asyncio.sleep(0.01)
    await channel.close()
    assert await waiting == "never sent: the channel was closed"
    assert member.closed


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED])
async def test_other_errors_keep_the_token(code: StatusCode) -> None:
    class Broken(AuthMember):
        async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
            if method is Method.PUT and len(self.calls) == 2:
                self.calls.append((method, None))
                raise RpcError(code, "gone")
            return await super().call(method, request, timeout_seconds)

    member = Broken()
    channel = LoginChannel(member, RIGHT)
    assert await put(channel) == "done"
    with pytest.raises(RpcError):
        await channel.call(Method.PUT, b"", 1.0)
    assert await put(channel) == "done"
    assert member.issued == 1
