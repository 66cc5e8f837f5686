"""Load workers over HTTP: what a hostile or clumsy client may try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent_service.models import MAX_CHUNK_BYTES
from tests.unit.api.test_http import problem_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.api.conftest import World

SECRET = "s3cret-passw0rd"  # noqa: S105 - made up


def body(**changes: Any) -> dict[str, Any]:
    order: dict[str, Any] = {
        "stressers": [{"kind": "kv"}],
        "endpoints": [{"member": "m1", "address": "127.0.0.1", "port": 1}],
        "login": {"user": "load", "password": SECRET},
        "seed": 1,
        "prefix": "p/",
        "number": 0,
        "workers": 1,
    }
    return {"order": order | changes, "lease_seconds": 5.0}


async def test_a_worker_from_start_to_removal(world: World) -> None:
    assert (await world.http.put("/v1/load/w1", json=body())).status_code == 201
    assert problem_of(await world.http.put("/v1/load/w1", json=body()), 409).state == "known"
    assert [worker.id for worker in await world.agent.load_workers()] == ["w1"]
    await world.agent.pause_load("w1")
    await world.agent.resume_load("w1")
    assert (await world.agent.load_messages("w1", 3, 0.0)).next == 3
    assert await world.agent.load_history("w1", 2) == b"xt"
    await world.agent.stop_load("w1")
    await world.agent.remove_load("w1")
    assert await world.agent.load_workers() == ()
    for call in ("GET messages", "GET history", "POST pause", "POST resume", "POST stop"):
        method, what = call.split()
        problem_of(await world.http.request(method, f"/v1/load/w1/{what}"), 404)
    problem_of(await world.http.delete("/v1/load/w1"), 404)


async def test_no_order_is_in_the_audit_log(world: World, tmp_path: Path) -> None:
    await world.http.put("/v1/load/w1", json=body())
    problem = problem_of(await world.http.put("/v1/load/w2", json=body(prefix=SECRET + "!")), 422)
    assert SECRET not in problem.detail
    entries = await world.agent.audit()
    assert [entry.what for entry in entries] == ["PUT /v1/load/w1", "PUT /v1/load/w2"]
    assert SECRET not in repr(entries)


@pytest.mark.parametrize(
    "changes",
    [
        {"stressers": []},
        {"stressers": [{"kind": "kv"}] * 17},
        {"stressers": ["kv"]},
        {"endpoints": [{"member": "m1", "address": "evil.example.org", "port": 1}]},
        {"endpoints": [{"member": "m1", "address": "fe80::1%eth0", "port": 1}]},
        {"endpoints": [{"member": "../m1", "address": "127.0.0.1", "port": 1}]},
        {"endpoints": [{"member": "m1", "address": "127.0.0.1", "port": 65536}]},
        {"prefix": ""},
        {"prefix": "a b"},
        {"seed": -1},
        {"seed": 2**63},
        {"workers": 10**6},
        {"argv": ["/bin/sh"]},
        {"history": "/etc/shadow"},
        {"tls": {"ca": "/etc/shadow"}},
        {"transport": "pickle"},
    ],
)
async def test_what_is_no_order_starts_nothing(world: World, changes: dict[str, Any]) -> None:
    problem_of(await world.http.put("/v1/load/w1", json=body(**changes)), 422)
    assert await world.agent.load_workers() == ()


@pytest.mark.parametrize("name", ["W1", "-", "a_b", "a" * 64, "..%2f..%2fetc", "a%00", "a%0a"])
async def test_a_name_is_no_path(world: World, name: str) -> None:
    assert (await world.http.put(f"/v1/load/{name}", json=body())).status_code in {404, 405, 422}
    assert await world.agent.load_workers() == ()


@pytest.mark.parametrize("lease", [0.0, -1.0, 1e9, float("nan"), "5"])
async def test_a_lease_is_bounded(world: World, lease: object) -> None:
    import json  # noqa: PLC0415 - httpx itself refuses to send nan

    content = json.dumps(body() | {"lease_seconds": lease})
    problem_of(
        await world.http.put("/v1/load/w1", content=content, headers={"content-type": "application/json"}),
        422,
    )


async def test_reading_is_bounded(world: World) -> None:
    await world.http.put("/v1/load/w1", json=body())
    for query in (
        "history?offset=-1",
        "history?offset=1e3",
        "messages?after=-1",
        "messages?wait_seconds=3600",
    ):
        problem_of(await world.http.get(f"/v1/load/w1/{query}"), 422)
    assert MAX_CHUNK_BYTES <= 1 << 20


async def test_an_order_is_small(world: World) -> None:
    problem_of(await world.http.put("/v1/load/w1", json=body(stressers=[{"kind": "k" * 70_000}])), 413)
