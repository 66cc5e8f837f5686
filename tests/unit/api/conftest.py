from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from agent_client import AgentClient
from agent_service.access import Access
from agent_service.app import Agent, create_app
from agent_service.audit import AuditLog
from agent_service.identity import as_client
from tests.agent.fakes import FakeFaults, FakeLoad, FakeMember
from tests.agent.settings import agent_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI

URL = "https://agent.test:9027"


@dataclass
class World:
    app: FastAPI
    member: FakeMember
    faults: FakeFaults
    audit: AuditLog
    agent: AgentClient
    http: httpx.AsyncClient

    def audited(self) -> list[tuple[str, str, str]]:
        return [(entry.who, entry.what, entry.outcome) for entry in self.audit.read(100)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as made:
        yield made


@asynccontextmanager
async def world_of(directory: Path, **changes: object) -> AsyncIterator[World]:
    """An agent in memory, with changed settings."""
    settings = agent_settings(directory, **changes)
    settings.state_dir.mkdir()
    member, faults, audit = FakeMember(directory), FakeFaults(), AuditLog(directory / "audit.jsonl")
    app = create_app(Agent(settings, member, faults, audit, FakeLoad()), Access(settings))
    transport = httpx.ASGITransport(as_client(app, "tester"))
    async with (
        AgentClient(URL, transport=transport) as agent,
        httpx.AsyncClient(transport=transport, base_url=URL) as http,
    ):
        yield World(app, member, faults, audit, agent, http)
