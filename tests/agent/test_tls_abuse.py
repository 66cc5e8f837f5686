"""What a client with a good certificate can try: every bound holds, and the agent goes on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from tests.agent.process import Process


HEAD = "Host: {address}:9027\r\nContent-Type: application/json\r\n"


class Raw:
    """A connection on which a test writes what it likes."""

    def __init__(self, agent: Process) -> None:
        self._agent = agent
        self._context = agent.tls().context

    async def __aenter__(self) -> Self:
        address, port = self._agent.address, self._agent.port
        self.reader, self.writer = await asyncio.open_connection(address, port, ssl=self._context)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.writer.transport.abort()

    def write(self, start: str, *, headers: str = HEAD, body: str = "") -> None:
        text = f"{start} HTTP/1.1\r\n{headers.format(address=self._agent.address)}\r\n{body}"
        self.writer.write(text.encode())

    async def answer(self) -> tuple[int, dict]:
        """Status and JSON body of an answer after which the agent hangs up or not."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split(" ")[1]), json.loads(await self.reader.readexactly(length))

    async def is_closed(self) -> bool:
        async with asyncio.timeout(20):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


async def still_serves(agent: Process) -> None:
    async with agent.client() as client:
        await client.clock()


async def test_wrong_host_header(agent: Process) -> None:
    async with Raw(agent) as raw:
        raw.write("GET /v1/clock", headers="Host: rebound.example\r\n")
        status, problem = await raw.answer()
    assert (status, problem["title"]) == (421, "Misdirected Request")


@pytest.mark.parametrize("headers", ["", "Host: {address}\r\nHost: {address}\r\n"])
async def test_no_or_two_host_headers(agent: Process, headers: str) -> None:
    async with Raw(agent) as raw:
        raw.write("GET /v1/clock", headers=headers)
        assert (await raw.answer())[0] == 400


async def test_what_is_not_http(agent: Process) -> None:
    async with Raw(agent) as raw:
        raw.writer.write(b"EHLO there\r\n\r\n")
        status, problem = await raw.answer()
        assert (status, problem["status"]) == (400, 400)
        assert await raw.is_closed()


async def test_body_that_drips(agent: Process) -> None:
    async with Raw(agent) as raw:
        raw.write("POST /v1/faults", headers=HEAD + "Content-Length: 1000\r\n", body="{")
        assert (await raw.answer())[0] == 408
        assert await raw.is_closed()
    await still_serves(agent)


async def test_head_that_drips_on_a_new_and_on_a_used_connection(agent: Process) -> None:
    async with Raw(agent) as raw:
        raw.writer.write(b"GET /v1/clock HTTP/1.1\r\nHost: x")
        assert await raw.is_closed()
    async with Raw(agent) as raw:
        raw.write("GET /v1/clock")
        assert (await raw.answer())[0] == 200
        raw.writer.write(b"GET /v1/clock HTTP/1.1\r\nHost: x")
        assert await raw.is_closed()
    assert "a request head is too slow: the connection of tester is dropped" in agent.log()
    await still_serves(agent)


async def test_head_without_end(agent: Process) -> None:
    async with Raw(agent) as raw:
        raw.writer.write(b"GET /v1/clock HTTP/1.1\r\nX: " + b"x" * 300_000)
        assert await raw.is_closed()
    assert "a request head is too large" in agent.log()
    await still_serves(agent)


async def test_huge_body_announced(agent: Process) -> None:
    async with Raw(agent) as raw:
        raw.write("POST /v1/faults", headers=HEAD + f"Content-Length: {10**12}\r\n", body="x")
        assert (await raw.answer())[0] == 413
        assert await raw.is_closed()
    await still_serves(agent)


async def test_huge_body_in_chunks(agent: Process) -> None:
    async with Raw(agent) as raw:
        chunk = "10000\r\n" + "x" * 0x10000 + "\r\n"
        raw.write("POST /v1/faults", headers=HEAD + "Transfer-Encoding: chunked\r\n", body=chunk * 2)
        assert (await raw.answer())[0] == 413
        assert await raw.is_closed()
    await still_serves(agent)


async def test_trailers_without_end(agent: Process) -> None:
    """They follow the body, so that no bound on head or body holds them."""
    async with Raw(agent) as raw:
        raw.write("POST /v1/faults", headers=HEAD + "Transfer-Encoding: chunked\r\n", body="0\r\n")
        for _ in range(20):
            raw.writer.write(b"x: " + b"y" * 50_000 + b"\r\n")
        assert await raw.is_closed()
    assert "a request is too large" in agent.log()
    await still_serves(agent)


async def test_a_body_in_the_smallest_chunks_is_as_good_as_any(agent: Process) -> None:
    async with Raw(agent) as raw:
        chunks = "".join(f"1\r\n{letter}\r\n" for letter in "x" * 60_000) + "0\r\n\r\n"
        raw.write("POST /v1/faults", headers=HEAD + "Transfer-Encoding: chunked\r\n", body=chunks)
        assert (await raw.answer())[0] == 422
        raw.write("GET /v1/clock")
        assert (await raw.answer())[0] == 200


async def test_handshakes_that_never_come_keep_nobody_out(agent: Process) -> None:
    """The fake agent waits for 40; the oldest goes for one more."""
    mute = [await asyncio.open_connection(agent.address, agent.port) for _ in range(41)]
    try:
        await asyncio.to_thread(agent.wait_for_log, "the oldest is dropped")
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                assert await mute[0][0].read() == b""
        await still_serves(agent)
    finally:
        for _, writer in mute:
            writer.transport.abort()


async def test_handshake_that_never_comes(agent: Process) -> None:
    reader, writer = await asyncio.open_connection(agent.address, agent.port)
    try:
        async with asyncio.timeout(20):
            assert await reader.read() == b""
    finally:
        writer.transport.abort()
    await still_serves(agent)


async def test_number_of_connections_is_bounded(agent: Process) -> None:
    """The fake agent takes 40; those over it are dropped, those below go on."""
    raws = [Raw(agent) for _ in range(50)]
    entered = []
    dropped = 0
    try:
        for raw in raws:
            try:
                entered.append(await raw.__aenter__())
                raw.write("GET /v1/clock")
                assert (await raw.answer())[0] == 200
            except (ConnectionError, asyncio.IncompleteReadError):
                dropped += 1
    finally:
        for raw in entered:
            await raw.__aexit__()
    assert dropped == 10


async def test_reader_that_does_not_read(agent: Process) -> None:
    log = agent.directory / "state" / "etcd.log"
    with log.open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    async with Raw(agent) as raw:
        raw.write("GET /v1/member/log/download")
        await asyncio.to_thread(agent.wait_for_log, "GET /v1/member/log/download failed")
    await still_serves(agent)


async def test_pipelined_requests_are_answered_in_order(agent: Process) -> None:
    async with Raw(agent) as raw:
        for _ in range(5):
            raw.write("GET /v1/clock")
        readings = [(await raw.answer())[1]["monotonic_ns"] for _ in range(5)]
    assert readings == sorted(readings)
