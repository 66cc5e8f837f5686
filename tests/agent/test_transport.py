"""The client's own HTTP, against servers that misbehave."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentClient, AgentUnreachableError, AgentVersionError
from agent_service.tls import ServerTls
from tests.agent.process import Process
from tests.agent.settings import agent_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLOCK = b'{"boot_id":"b","monotonic_ns":1,"realtime_ns":2}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def answer(body: bytes = CLOCK) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


class Script:
    """Answers the nth request with the nth piece of bytes; ``None`` hangs up."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                piece = self.answers.pop(0)
                if piece is None:
                    break
                writer.write(piece)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def scripted(
    directory: Path, script: Script, timeout_seconds: float = 30.0
) -> AsyncIterator[AgentClient]:
    process = Process(directory, "never.started")
    tls = ServerTls(agent_settings(directory).tls)
    server = await asyncio.start_server(script.serve, process.address, process.port, ssl=tls.context)
    try:
        async with (
            server,
            AgentClient(process.url, tls=process.tls(), timeout_seconds=timeout_seconds) as client,
        ):
            yield client
    finally:
        process.close()


async def test_one_connection_carries_many_requests(tmp_path: Path) -> None:
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(CLOCK) + CLOCK + b"\r\n0\r\n\r\n"
    script = Script(answer(), chunked, answer())
    async with scripted(tmp_path, script) as client:
        for _ in range(3):
            assert (await client.clock()).monotonic_ns == 1
    assert script.connections == 1
    assert script.requests[0].startswith(b"GET /v1/clock HTTP/1.1\r\n")


async def test_a_kept_connection_that_is_lost_is_replaced_for_reading_only(tmp_path: Path) -> None:
    script = Script(answer(), None, answer(), None, None)
    async with scripted(tmp_path, script) as client:
        await client.clock()
        await client.clock()  # the second request is lost with its connection, and asked again
        with pytest.raises(AgentUnreachableError):
            await client.kill()
    assert [request.split(b" ")[0] for request in script.requests] == [b"GET", b"GET", b"GET", b"POST"]


async def test_connection_close_is_obeyed(tmp_path: Path) -> None:
    closing = answer().replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
    script = Script(closing, answer())
    async with scripted(tmp_path, script) as client:
        await client.clock()
        await client.clock()
    assert script.connections == 2


@pytest.mark.parametrize("rest", [b"", b"content-length: 1000\r\n\r\n{", b"content-le"])
async def test_an_answer_cut_short_is_no_answer(tmp_path: Path, rest: bytes) -> None:
    async with scripted(tmp_path, Script(HEAD + rest)) as client:
        with pytest.raises(AgentUnreachableError, match="cut short"):
            await client.clock()


async def test_what_is_not_http(tmp_path: Path) -> None:
    async with scripted(tmp_path, Script(b"220 mail.example ESMTP\r\n", None)) as client:
        with pytest.raises(AgentUnreachableError, match="not HTTP"):
            await client.clock()


@pytest.mark.parametrize(
    "piece",
    [
        answer(b"{}"),
        answer(b"<html>"),
        answer().replace(b"200 OK", b"404 Not Found"),
        answer().replace(b"200 OK", b"302 Found"),
        answer(b"{}").replace(b"200 OK", b"500 X").replace(b"application/json", b"application/problem+json"),
    ],
)
async def test_what_is_no_agent_of_this_release(tmp_path: Path, piece: bytes) -> None:
    async with scripted(tmp_path, Script(piece, None)) as client:
        with pytest.raises(AgentVersionError):
            await client.clock()


async def test_silence_ends_with_the_deadline(tmp_path: Path) -> None:
    async with scripted(tmp_path, Script(*[b""] * 10), timeout_seconds=0.3) as client:
        with pytest.raises(AgentUnreachableError, match=r"no answer within 0\.3 s"):
            await client.clock()
        with pytest.raises(AgentUnreachableError, match=r"no answer within 0\.3 s"):
            await client.clock()


async def test_more_calls_at_once_than_connections(tmp_path: Path) -> None:
    script = Script(*[answer()] * 200)
    async with scripted(tmp_path, script) as client:
        readings = await asyncio.gather(*(client.clock() for _ in range(100)))
    assert len(readings) == 100
    assert script.connections <= 16


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9027", "https://h/v1", "https://u:p@h", "h:9027", "https://h?x"]
)
def test_what_is_no_url_of_an_agent(tmp_path: Path, url: str) -> None:
    process = Process(tmp_path, "never.started")
    process.close()
    with pytest.raises(ValueError, match="https://ADDRESS:PORT"):
        AgentClient(url, tls=process.tls())


def test_tls_or_a_transport(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either tls or a transport"):
        AgentClient("https://127.0.0.1:9027")
