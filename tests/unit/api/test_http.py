"""The HTTP interface as a client without certificates sees it: answers, problems, the audit."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import ValidationError

from agent_service import API_VERSION, __version__, gate, ratelimit
from agent_service.identity import as_client
from agent_service.models import FaultRequest, KillFault, MemberSpec, Problem
from tests.agent.settings import agent_settings
from tests.unit.api.conftest import world_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.api.conftest import World


SPEC = MemberSpec(
    name="m1",
    version="3.5.1",
    client_url="http://127.0.0.1:2379",
    peer_url="http://127.0.0.1:2380",
    initial_cluster={"m1": "http://127.0.0.1:2380"},
    initial_cluster_token="t",
)
FAULT = {"id": "f1", "spec": {"kind": "kill"}, "lease_seconds": 5, "reason": "test"}


def problem_of(response: httpx.Response, status: int) -> Problem:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert problem.status == status
    return problem


async def test_host_says_version_and_clock(world: World) -> None:
    info = await world.agent.check_version()
    assert (info.agent_version, info.api_version) == (__version__, API_VERSION)
    first, second = info.clock, await world.agent.clock()
    assert first.boot_id == second.boot_id
    assert first.monotonic_ns < second.monotonic_ns


async def test_usage_without_a_member(world: World) -> None:
    usage = await world.agent.usage()
    assert usage.member is None
    assert usage.agent.rss_bytes > 1_000_000
    assert usage.agent.threads >= 1
    assert 0 <= usage.cpu_percent <= 100
    assert usage.disk_free_bytes > 0


async def test_member_states_and_their_409(world: World) -> None:
    refused = problem_of(await world.http.post("/v1/member/pause"), 409)
    assert refused.state == "uninitialized"
    assert refused.remedy == "start it"
    assert (await world.agent.start(SPEC)).state == "running"
    assert (await world.agent.pause()).state == "paused"
    assert (await world.agent.resume()).spec == SPEC
    assert (await world.agent.stop(grace_seconds=2)).state == "stopped"
    assert world.member.causes == ["stop 2"]


async def test_refused_flag_is_422_with_remedy(world: World) -> None:
    body = SPEC.model_copy(update={"flags": {"bad": "1"}}).model_dump()
    assert problem_of(await world.http.post("/v1/member/start", json=body), 422).remedy == "leave it out"


async def test_every_mistake_of_a_body_is_named(world: World) -> None:
    body = SPEC.model_dump() | {"name": "M 1", "peer_url": "ftp://x", "surprise": 1}
    problem = problem_of(await world.http.post("/v1/member/start", json=body), 422)
    assert problem.title == "Invalid request"
    for field in ("body.name", "body.peer_url", "body.surprise"):
        assert field in problem.detail


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'{"id": 1e999}'])
async def test_a_body_that_is_no_json_object_is_422(world: World, body: bytes) -> None:
    response = await world.http.post("/v1/faults", content=body, headers={"content-type": "application/json"})
    problem_of(response, 422)


async def test_fault_is_created_once_then_repeated_then_healed_twice(world: World) -> None:
    assert (await world.http.post("/v1/faults", json=FAULT)).status_code == 201
    assert (await world.http.post("/v1/faults", json=FAULT)).status_code == 200
    other = FAULT | {"spec": {"kind": "pause"}}
    assert problem_of(await world.http.post("/v1/faults", json=other), 409).state == "injected"
    assert (await world.agent.renew("f1", 9)).lease_remaining_seconds == 9
    assert [f.id for f in await world.agent.faults()] == ["f1"]
    assert (await world.agent.heal("f1")).state == "healed"
    assert (await world.agent.heal("f1")).state == "healed"
    assert set(world.faults.who) == {"tester"}


async def test_heal_all_is_last_in_first_out(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.http.post("/v1/faults", json=FAULT | {"id": name})
    assert [f.id for f in await world.agent.heal_all()] == ["c", "b", "a"]


async def test_fault_without_effect_is_424(world: World) -> None:
    body = FAULT | {"spec": {"kind": "restart"}}
    assert problem_of(await world.http.post("/v1/faults", json=body), 424).title == "Fault failed"


async def test_plan_touches_nothing_and_is_not_audited(world: World) -> None:
    plan = await world.agent.plan(KillFault())
    assert plan.undo == ("undo kill",)
    assert world.faults.known == {}
    assert world.audited() == []


async def test_a_defect_is_500_without_the_inside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    response = await world.http.post("/v1/faults", json=FAULT | {"id": "crash"})
    assert "secret" not in problem_of(response, 500).model_dump_json()
    assert "secret-of-the-inside" in caplog.text
    assert world.audited() == [("tester", "POST /v1/faults", "500")]


async def test_unknown_paths_methods_and_slashes(world: World) -> None:
    problem_of(await world.http.get("/v1/nothing"), 404)
    problem_of(await world.http.get("/docs"), 404)
    problem_of(await world.http.get("/v1/host/"), 404)
    problem_of(await world.http.get("/v1/faults/no-such"), 404)
    response = await world.http.put("/v1/faults")
    problem_of(response, 405)
    assert set(response.headers["allow"].split(", ")) == {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("host", ["evil.test", "evil.test:9027", "agent.test.evil", ""])
async def test_wrong_host_header_is_421(world: World, host: str) -> None:
    problem_of(await world.http.get("/v1/clock", headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["agent.test", "AGENT.test:1", "127.0.0.1:9027"])
async def test_known_host_header(world: World, host: str) -> None:
    assert (await world.http.get("/v1/clock", headers={"host": host})).status_code == 200


async def test_two_host_headers_are_400(world: World) -> None:
    response = await world.http.get("/v1/clock", headers=[("host", "agent.test"), ("host", "evil.test")])
    problem_of(response, 400)


async def test_without_certificate_or_from_a_stranger_nothing_goes(world: World) -> None:
    for app, who in ((world.app, "unknown"), (as_client(world.app, "stranger"), "stranger")):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="https://agent.test"
        ) as http:
            problem_of(await http.get("/v1/clock"), 403)
            problem_of(await http.post("/v1/member/kill"), 403)
        assert world.audited()[-1] == (who, "POST /v1/member/kill", "403")


async def test_a_reader_reads_and_changes_nothing(tmp_path: Path) -> None:
    tls = agent_settings(tmp_path).tls.model_dump() | {"readers": ["prometheus"]}
    async with world_of(tmp_path, tls=tls) as world:
        reader = httpx.ASGITransport(as_client(world.app, "prometheus"))
        async with httpx.AsyncClient(transport=reader, base_url="https://agent.test") as http:
            for path in ("/v1/metrics", "/v1/faults", "/v1/member", "/v1/audit", "/v1/load"):
                assert (await http.get(path)).status_code == 200, path
            asked = [
                (method.upper(), path.replace("{fault_id}", "f1"))
                for path, methods in world.app.openapi()["paths"].items()
                for method in methods
                if method != "get"
            ]
            asked += [("GET", "/v1/load/w1/messages"), ("GET", "/v1/load/w1/history")]  # they renew a lease
            assert len(asked) > 10
            for method, path in asked:
                refused = problem_of(await http.request(method, path, json=FAULT), 403)
                assert refused.detail == "client 'prometheus' may only read", (method, path)
        assert not world.faults.known
        assert world.audited()[-1][0] == "prometheus"
        assert (await world.http.post("/v1/faults", json=FAULT)).status_code == 201, "the control"


def test_nobody_is_client_and_reader(tmp_path: Path) -> None:
    tls = agent_settings(tmp_path).tls.model_dump() | {"readers": ["tester"]}
    with pytest.raises(ValidationError, match="tester: a client stands in allowed_clients or in readers"):
        agent_settings(tmp_path, tls=tls)


async def test_body_over_the_limit_is_413_announced_or_not(world: World) -> None:
    large = b"x" * (gate.MAX_BODY_BYTES + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    problem_of(await world.http.post("/v1/faults", content=large), 413)
    problem_of(await world.http.post("/v1/faults", content=pieces()), 413)


async def test_body_of_exactly_the_limit_is_read(world: World) -> None:
    problem_of(await world.http.post("/v1/faults", content=b" " * gate.MAX_BODY_BYTES), 422)


async def test_body_that_does_not_come_is_408(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    response = await world.http.post("/v1/faults", content=pieces())
    problem_of(response, 408)
    assert response.headers["connection"] == "close"


async def test_number_of_requests_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_REQUESTS", 3)
    release = asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield b"{"
        await release.wait()

    waiting = [asyncio.create_task(world.http.post("/v1/faults", content=held())) for _ in range(3)]
    await asyncio.sleep(0.05)
    problem_of(await world.http.get("/v1/clock"), 503)
    assert (await world.http.delete("/v1/faults")).status_code == 200, "what heals is never refused"
    release.set()
    for response in await asyncio.gather(*waiting):
        problem_of(response, 422)
    assert (await world.http.get("/v1/clock")).status_code == 200


async def test_the_rate_of_a_client_is_bounded_and_what_heals_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratelimit, "monotonic", lambda: 1.0)
    async with world_of(tmp_path, requests_per_second=20) as world:
        assert (await world.http.post("/v1/faults", json=FAULT)).status_code == 201
        answers = [await world.http.get("/v1/clock") for _ in range(45)]
        assert {answer.status_code for answer in answers[:39]} == {200}, "the control: a burst passes"
        for answer in (*answers[39:], await world.http.post("/v1/faults", json=FAULT | {"id": "f2"})):
            assert "requests_per_second" in (problem_of(answer, 429).remedy or "")
            assert answer.headers["retry-after"] == "1"
        stop = {"reason": "flood"}
        healing = [
            await world.http.delete("/v1/faults/f1"),
            await world.http.delete("/v1/faults"),
            await world.http.post("/v1/emergency-stop", json=stop),
        ]
        assert [answer.status_code for answer in healing] == [200] * 3
        assert "429" not in {outcome for _, _, outcome in world.audited()}, (
            "a flood keeps out of the audit log"
        )


async def test_a_client_waits_until_the_agent_takes_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1.0]
    monkeypatch.setattr(ratelimit, "monotonic", lambda: now[0])
    async with world_of(tmp_path, requests_per_second=20) as world:
        while (await world.http.get("/v1/clock")).status_code == 200:
            pass
        asked = asyncio.create_task(world.agent.inject(FaultRequest.model_validate(FAULT)))
        await asyncio.sleep(0.1)
        assert not asked.done()
        assert not world.faults.known
        now[0] += 1
        assert (await asked).id == "f1"


async def test_every_mutating_request_is_audited_with_its_body(world: World) -> None:
    await world.http.get("/v1/clock")
    await world.http.post("/v1/faults", json=FAULT)
    await world.http.post("/v1/faults/f1/renew", json={"lease_seconds": 9})
    await world.http.post("/v1/faults/f9/renew", json={"lease_seconds": 9})
    await world.http.post("/v1/member/stop", json={"grace_seconds": -1})
    await world.http.delete("/v1/faults/f1")
    await world.http.post("/v1/no/such/path")
    assert world.audited() == [
        ("tester", "POST /v1/faults", "201"),
        ("tester", "POST /v1/faults/f9/renew", "404"),
        ("tester", "POST /v1/member/stop", "422"),
        ("tester", "DELETE /v1/faults/f1", "200"),
        ("tester", "POST /v1/no/such/path", "404"),
    ]
    assert json.loads((await world.agent.audit())[0].detail["body"]) == FAULT


async def test_log_tail_and_download_of_a_growing_log(world: World, tmp_path: Path) -> None:
    problem_of(await world.http.get("/v1/member/log"), 404)
    problem_of(await world.http.get("/v1/member/log/download"), 404)
    text = "".join(f"line {n}\n" for n in range(20_000))
    world.member.log_path.write_text(text)
    assert (await world.agent.member_log(2)).lines == ("line 19998", "line 19999")
    copy = tmp_path / "copy.log"
    assert await world.agent.download_member_log(copy) == len(text)
    assert copy.read_text() == text
    assert await world.agent.download_member_log(copy, len(text) - 11) == 11
    assert copy.read_text() == "line 19999\n"
    assert await world.agent.download_member_log(copy, len(text)) == 0
    problem_of(await world.http.get("/v1/member/log", params={"lines": 0}), 422)
    problem_of(await world.http.get("/v1/member/log/download", params={"offset": -1}), 422)
    beyond = problem_of(
        await world.http.get("/v1/member/log/download", params={"offset": len(text) + 1}), 409
    )
    assert beyond.detail == f"the log ends at byte {len(text)}: it is another one, or was cut off"


async def test_the_emergency_stop_over_http(world: World) -> None:
    assert (await world.agent.emergency()).engaged is False
    stop = await world.agent.emergency_stop("prod is down")
    assert (stop.engaged, stop.who, stop.reason) == (True, "tester", "prod is down")
    seen = await world.agent.emergency()
    assert (seen.engaged, seen.since_realtime_ns) == (True, stop.since_realtime_ns)
    assert (await world.agent.clear_emergency_stop()).engaged is False
    problem_of(await world.http.post("/v1/emergency-stop", json={"reason": "two\nlines"}), 422)


async def test_a_key_reaches_no_log_and_no_answer(world: World, tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    body = {"ca": pem, "certificate": pem, "key": "the secret"}
    answers = [await world.http.put("/v1/member/tls", json=body)]
    assert answers[0].status_code == 200
    wrong = ({**body, "ca": "the secret"}, {**body, "more": "the secret"}, {**body, "key": ["the secret"]})
    answers += [await world.http.put("/v1/member/tls", json=each) for each in wrong]
    astray = ("/v1/member/tls/", "/v2/member/tls", "/v1/metrics")
    answers += [await world.http.put(path, json=body) for path in astray]
    answers.append(await world.http.get("/v1/audit"))
    assert [answer.status_code for answer in answers[1:4]] == [422] * 3
    assert [answer.status_code for answer in answers[5:7]] == [404, 405]
    assert "PUT /v2/member/tls" in answers[-1].text
    for answer in answers:
        assert "the secret" not in answer.text
    files = await asyncio.to_thread(lambda: [path for path in tmp_path.rglob("*") if path.is_file()])
    assert files
    assert not [path for path in files if b"the secret" in path.read_bytes()]
