"""The published interface is complete, and holds against requests made from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from agent_service.access import Access
from agent_service.app import Agent, create_app
from agent_service.audit import AuditLog
from agent_service.identity import as_client
from tests.agent.fakes import FakeFaults, FakeLoad, FakeMember
from tests.agent.settings import agent_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from fastapi import FastAPI
    from hypothesis.strategies import SearchStrategy

    from agent_service.models import FaultSpec


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    directory = tmp_path_factory.mktemp("openapi")
    agent_config = agent_settings(directory, allowed_hosts=["agent.test"])
    agent_config.state_dir.mkdir()
    (directory / "etcd.log").write_text("one\ntwo\n")
    parts = Agent(
        agent_config,
        FakeMember(directory),
        FakeFaults(),
        AuditLog(directory / "audit.jsonl"),
        FakeLoad(),
    )
    return create_app(parts, Access(agent_config))


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_is_named_described_and_tagged(schema: dict[str, Any]) -> None:
    ids = []
    for name, operation in operations(schema):
        ids.append(operation["operationId"])
        assert operation["tags"], name
        assert operation["summary"], name
        assert operation["description"].endswith("."), name
    assert len(ids) == len(set(ids))


def test_every_operation_types_its_answer_and_documents_its_problems(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        responses = operation["responses"]
        assert {"400", "403", "421", "422", "429", "500", "503"} <= responses.keys(), name
        if "requestBody" in operation:
            assert {"408", "413"} <= responses.keys(), name
        for status, response in responses.items():
            assert response["description"], (name, status)
            media_type = "application/problem+json" if int(status) >= 400 else "application/json"
            if operation["operationId"] in {"downloadMemberLog", "getMetrics"} and status == "200":
                media_type = "text/plain"
            if operation["operationId"] == "getLoadHistory" and status == "200":
                media_type = "application/octet-stream"
            assert list(response["content"]) == [media_type], (name, status)
            assert response["content"][media_type].get("schema") or media_type == "text/plain", name


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(references(schema)) <= known


def test_every_body_model_is_described(schema: dict[str, Any]) -> None:
    for name, model in schema["components"]["schemas"].items():
        assert model.get("description"), name


CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_never_meet_a_defect(app: FastAPI, mode: GenerationMode) -> None:
    """Every operation, with bodies and parameters that fit the schema, and with such that do not."""
    for generated in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
        operation = generated.ok()
        # some operations have nothing that could be wrong about them
        if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters:
            try_operation(app, operation.as_strategy(generation_mode=mode))


def test_generated_requests_find_a_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the check above can fail."""

    def broken(_faults: FakeFaults, _spec: FaultSpec) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FakeFaults, "plan", broken)
    config = agent_settings(tmp_path, allowed_hosts=["agent.test"])
    parts = Agent(config, FakeMember(tmp_path), FakeFaults(), AuditLog(tmp_path / "audit.jsonl"), FakeLoad())
    app = create_app(parts, Access(config))
    operation = schemathesis.openapi.from_dict(app.openapi())["/v1/faults/plan"]["POST"]
    with pytest.raises(FailureGroup, match="Server error"):
        try_operation(app, operation.as_strategy())


def try_operation(app: FastAPI, cases: SearchStrategy[schemathesis.Case]) -> None:
    @given(case=cases)
    @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def try_one(case: schemathesis.Case) -> None:
        request = case.as_transport_kwargs(base_url="https://agent.test")
        request.pop("cookies", None)
        if "data" in request:
            request["content"] = request.pop("data")
        case.validate_response(asyncio.run(send(app, request)), checks=CHECKS)

    try_one()


async def send(app: FastAPI, request: dict[str, Any]) -> httpx.Response:
    transport = httpx.ASGITransport(as_client(app, "tester"))
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.request(**request)
