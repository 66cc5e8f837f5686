"""Requests made to do harm meet the real planner and the real member: no defect, and no command that should not be.

Nothing is done to this machine: what would touch it is recorded and refused.
"""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from agent_service import commands
from agent_service.access import Access
from agent_service.app import Agent, create_app
from agent_service.audit import AuditLog
from agent_service.commands import Completed
from agent_service.errors import UnavailableError
from agent_service.faults import execute, manager, nft
from agent_service.faults.manager import FaultManager
from agent_service.faults.steps import Exec
from agent_service.identity import as_client
from agent_service.member import MemberControl
from agent_service.supervisor import create_supervisor, process
from tests.agent.fakes import FakeLoad
from tests.agent.settings import agent_settings
from tests.unit.member.settings import member_spec
from tests.unit.member.test_fault_plans import GOLDEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from agent_service.faults.steps import Action

HOSTILE = (
    "; reboot",
    "$(reboot)",
    "`reboot`",
    "| reboot #",
    "x\nadd rule inet filter input drop",
    "x } table inet y {",
    "--help",
    "-f/etc/shadow",
    "../../../etc/shadow",
    "/etc/shadow",
    "\0",
    "\x1b[2J",
    "%n%s",
    "${HOME}",
    "\ud7ff\u202e\uffff",
    "127.0.0.1; reboot",
    "1" * 5000,
    "",
    " ",
)
PROGRAMS = {"nft", "tc", "ip", "iptables", "iptables-nft-restore", "systemctl"}


class Attempts:
    """What the agent would have run."""

    def __init__(self) -> None:
        self.argvs: list[tuple[str, ...]] = []
        self.texts: list[str] = []

    async def run(self, argv: tuple[str, ...], *, stdin: str = "", **_: object) -> Completed:
        self.argvs.append(tuple(argv))
        self.texts.append(stdin)
        return Completed(tuple(argv), 1, "", "not here")

    async def check(self, argv: tuple[str, ...], *, stdin: str = "") -> Completed:
        await self.run(argv, stdin=stdin)
        raise UnavailableError("not here")

    async def act(self, action: Action, *_: object) -> None:
        if isinstance(action, Exec):
            await self.run(action.argv, stdin=action.stdin)
        raise UnavailableError("nothing is done to this machine")

    def objections(self) -> list[str]:
        """What should never have been run."""
        found = [f"program {argv[0]}" for argv in self.argvs if argv[0] not in PROGRAMS]
        found += [f"{argv[0]} with {argv}" for argv in self.argvs if any(map(_is_hostile, argv))]
        found += [f"input {text}" for text in self.texts if "reboot" in text or "inet y" in text]
        for argv in self.argvs:
            if argv[:4] == ("ip", "-j", "route", "get"):
                ip_address(argv[4])
        return found


def _is_hostile(word: str) -> bool:
    return "reboot" in word or "shadow" in word or not word.isprintable() or len(word) > 1000


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    made = Attempts()
    for module in (commands, nft):
        monkeypatch.setattr(module, "run", made.run)
        monkeypatch.setattr(module, "check", made.check)
    for module in (execute, manager):
        monkeypatch.setattr(module, "act", made.act)
    monkeypatch.delattr(
        process, "spawn"
    )  # a program that is started all the same is a defect, and found as one
    return made


@pytest.fixture
async def http(tmp_path: Path, attempts: Attempts) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_of(tmp_path)) as client:
        yield client


def app_of(directory: Path) -> FastAPI:
    """An agent with nothing faked but the machine."""
    config = agent_settings(directory, allowed_hosts=["agent.test"], requests_per_second=100_000)
    (config.state_dir / "faults").mkdir(parents=True, exist_ok=True)
    audit = AuditLog(directory / "audit.jsonl")
    member = MemberControl(config, create_supervisor(config))
    return create_app(
        Agent(config, member, FaultManager(config, member, audit), audit, FakeLoad()), Access(config)
    )


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(as_client(app, "tester"))
    return httpx.AsyncClient(transport=transport, base_url="https://agent.test")


BODIES: dict[str, tuple[str, str, Any]] = {
    "start": (
        "POST",
        "/v1/member/start",
        member_spec(flags={"heartbeat-interval": "50"}).model_dump(mode="json"),
    ),
    "archive": ("POST", "/v1/member/archive", {"label": "a", "data": True}),
    "tls": ("PUT", "/v1/member/tls", {"ca": "x", "certificate": "x", "key": "x"}),
    "emergency": ("POST", "/v1/emergency-stop", {"reason": "x"}),
    **{
        f"{kind}-{what}": (
            "POST",
            path,
            spec if what == "plan" else {"id": "f", "spec": spec, "lease_seconds": 5, "reason": "x"},
        )
        for kind, (model, _) in GOLDEN.items()
        for what, path in (("plan", "/v1/faults/plan"), ("inject", "/v1/faults"))
        if what == "plan" or kind in {"client-port", "isolate"}  # what is around a spec is the same for all
        for spec in [model.model_dump(mode="json")]
    },
}


def leaves(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value of a body is, that is no object or list."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*at, key))
    else:
        yield at


def got(body: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        body = body[key]
    return body


def put(body: Any, at: tuple[Any, ...], value: str) -> Any:
    changed = deepcopy(body)
    place = changed
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return changed


@pytest.mark.parametrize("name", sorted(BODIES))
async def test_hostile_words_in_every_place(http: httpx.AsyncClient, attempts: Attempts, name: str) -> None:
    method, path, body = BODIES[name]
    for at in leaves(body):
        # A number takes no word at all; two will do to see that.
        for word in HOSTILE if isinstance(got(body, at), str) and at[-1] != "kind" else HOSTILE[:2]:
            answer = await http.request(method, path, json=put(body, at, word))
            assert answer.status_code < 500 or answer.status_code == 503, (at, word, answer.text)
    assert attempts.objections() == []


@pytest.mark.parametrize("path", ["/v1/faults/{}", "/v1/faults/{}/renew", "/v1/{}", "/v1/member/{}"])
async def test_hostile_words_in_paths(http: httpx.AsyncClient, attempts: Attempts, path: str) -> None:
    for word in HOSTILE:
        for method in ("GET", "POST", "DELETE", "PUT"):
            url = path.format(httpx.QueryParams({"": word}).__str__()[1:])
            answer = await http.request(method, url, json={"lease_seconds": 5})
            assert answer.status_code < 500, (method, url, answer.text)
    assert attempts.argvs == []


RAW = {
    "deep": b'{"kind":' * 20_000,
    "deep lists": b"[" * 60_000 + b"]" * 60_000,
    "long number": b'{"lease_seconds": ' + b"9" * 10_000 + b"}",
    "infinite": b'{"lease_seconds": 1e999}',
    "nan": b'{"lease_seconds": NaN}',
    "no text": bytes(range(256)),
    "surrogate": b'{"reason": "\\ud800"}',
    "null": b"null",
    "twice": b'{"reason": "a", "reason": 1}',
    "nothing": b"",
}


@pytest.mark.parametrize("raw", sorted(RAW))
@pytest.mark.parametrize(
    "path", ["/v1/faults", "/v1/faults/plan", "/v1/faults/f/renew", "/v1/member/start", "/v1/emergency-stop"]
)
async def test_bodies_that_are_none(http: httpx.AsyncClient, path: str, raw: str) -> None:
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", ""):
        answer = await http.post(path, content=RAW[raw], headers={"content-type": kind})
        assert 400 <= answer.status_code < 500, (kind, answer.text)
        assert "Traceback" not in answer.text


async def test_the_control_is_recorded(http: httpx.AsyncClient, attempts: Attempts) -> None:
    """A request that is right gets as far as the command it is about."""
    method, path, body = BODIES["client-port-inject"]
    answer = await http.request(method, path, json=body)
    assert answer.status_code == 424, answer.text
    assert ("nft", "-f", "-") in attempts.argvs
    assert attempts.objections() == []
    attempts.argvs.append(("sh", "-c", "reboot"))
    assert len(attempts.objections()) == 2, "it can find something"


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_meet_the_real_planner(
    tmp_path: Path, attempts: Attempts, mode: GenerationMode
) -> None:
    app = app_of(tmp_path)
    described = schemathesis.openapi.from_dict(app.openapi())
    kinds = set()
    for way in ("/v1/faults", "/v1/faults/plan", "/v1/member/start", "/v1/member/archive"):
        operation = described[way]["POST"]

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def try_one(case: schemathesis.Case) -> None:
            request = case.as_transport_kwargs(base_url="https://agent.test")
            request.pop("cookies", None)
            if "data" in request:
                request["content"] = request.pop("data")
            answer = asyncio.run(send(app, request))
            kinds.add(answer.status_code)
            assert answer.status_code < 500 or answer.status_code == 503, (
                json.dumps(request, default=str),
                answer.text,
            )

        try_one()
    assert attempts.objections() == []
    assert kinds & ({422, 400} if mode is GenerationMode.NEGATIVE else {200, 409, 424, 503})


async def send(app: FastAPI, request: dict[str, Any]) -> httpx.Response:
    async with client_of(app) as client:
        return await client.request(**request)
