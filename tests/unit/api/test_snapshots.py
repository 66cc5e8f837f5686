"""Snapshots over the HTTP interface: whole or refused, bounded, one line of audit and nothing of the content."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest
import uvicorn
from uvicorn.server import ServerState

from agent_client import AgentRefusedError
from agent_service import gate
from agent_service.identity import as_client
from agent_service.protocol import MAX_MESSAGE_BYTES, AgentProtocol
from tests.unit.api.test_http import SPEC, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from tests.unit.api.conftest import World

CONTENT = b"content of a snapshot " * 100_000
SUM = hashlib.sha256(CONTENT).hexdigest()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_snapshot_larger_than_any_other_body_is_taken_in(world: World, tmp_path: Path) -> None:
    assert len(CONTENT) > gate.MAX_BODY_BYTES
    (tmp_path / "snapshot.db").write_bytes(CONTENT)
    stored = await world.agent.put_snapshot(tmp_path / "snapshot.db")
    assert (stored.sha256, stored.size_bytes) == (SUM, len(CONTENT))
    assert world.audited() == [("tester", f"PUT /v1/snapshots/{SUM}", "200")]
    assert b"content of" not in (tmp_path / "audit.jsonl").read_bytes()


async def test_a_body_says_how_large_it_is(world: World) -> None:
    path = f"/v1/snapshots/{SUM}"
    huge = {"content-length": str(gate.MAX_SNAPSHOT_BYTES + 1)}
    problem_of(await world.http.put(path, content=b"x", headers=huge), 413)
    problem_of(await world.http.put(path, content=pieces(b"x")), 422)
    short = {"content-length": "3"}
    problem_of(await world.http.put(path, content=pieces(b"x"), headers=short), 422)


async def counts(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body, or without having read it."""
    received, more = 0, True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
    await send({"type": "http.response.body", "body": b"%7d" % received})


async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def put_over_tcp(app: object, path: str) -> bytes:
    """What comes back, with the agent's own protocol, for a body larger than any other request may be."""
    config = uvicorn.Config(app, http=AgentProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    server = await loop.create_server(
        lambda: AgentProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        writer.write(f"PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(CONTENT)}\r\n\r\n".encode())
        await asyncio.sleep(0)
        for start in range(0, len(CONTENT), 1 << 16):
            writer.write(CONTENT[start : start + (1 << 16)])
            await writer.drain()
        if app is counts:
            return await reader.readuntil(b"%7d" % len(CONTENT))
        return await reader.read()
    finally:
        writer.transport.abort()
        server.close()


async def test_a_large_snapshot_passes_the_protocol_and_no_other_large_body_does() -> None:
    assert len(CONTENT) > 2 * MAX_MESSAGE_BYTES
    assert (await put_over_tcp(counts, f"/v1/snapshots/{SUM}")).startswith(b"HTTP/1.1 200")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await put_over_tcp(counts, "/v1/load/w")


async def test_a_large_snapshot_that_is_refused_is_cut_off() -> None:
    with pytest.raises(ConnectionError):
        await put_over_tcp(refuses, f"/v1/snapshots/{SUM}")


@pytest.mark.parametrize("name", ["0", "a" * 63, "G" * 64, "..%2F" + "a" * 59, "a" * 64 + ".db", "A" * 64])
async def test_a_name_is_a_sum(world: World, name: str) -> None:
    response = await world.http.put(f"/v1/snapshots/{name}", content=b"x")
    assert response.status_code in {404, 422}


async def test_a_piece_that_does_not_come_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.01)
    received = 0

    async def receive() -> dict[str, object]:
        nonlocal received
        received += 1
        if received > 1:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"x", "more_body": True}

    answers: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "path": f"/v1/snapshots/{SUM}",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "scheme": "https",
        "headers": [(b"host", b"agent.test"), (b"content-length", b"100")],
        "client": None,
        "server": None,
        "extensions": {},
    }
    await as_client(world.app, "tester")(scope, receive, send)
    assert answers[0]["status"] == 408


@pytest.mark.parametrize(
    "change",
    [
        {"initial_cluster_token": "a b"},
        {"initial_cluster_token": "--data-dir=/etc"},
        {"initial_cluster_token": "$(reboot)"},
        {"initial_cluster": {"m1,m2=http://127.0.0.1:1": "http://127.0.0.1:2380"}},
        {"initial_cluster": {"m1": "http://127.0.0.1:2380,m2=http://127.0.0.1:1"}},
        {"peer_url": "http://127.0.0.1:2380 --skip-hash-check"},
        {"version": "../../bin"},
        {"name": "-m1"},
    ],
)
async def test_hostile_words_reach_no_command_line(world: World, change: dict[str, object]) -> None:
    body = {"spec": SPEC.model_dump() | change, "sha256": SUM}
    problem_of(await world.http.post("/v1/member/restore", json=body), 422)


async def test_a_member_that_runs_is_not_restored(world: World) -> None:
    restored = await world.agent.restore(SPEC, SUM)
    assert restored.revision == 3
    await world.agent.keep_restored()
    await world.agent.start(SPEC)
    with pytest.raises(AgentRefusedError, match="409"):
        await world.agent.restore(SPEC, SUM)
