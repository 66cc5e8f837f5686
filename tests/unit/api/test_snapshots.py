"""Snapshots over the HTTP interface: whole or refused, bounded, one line of audit and nothing of the content."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentRefusedError
from agent_service import gate
from agent_service.identity import as_client
from tests.unit.api.test_http import SPEC, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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
