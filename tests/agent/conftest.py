from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Process]:
    """A fake agent that does not run yet."""
    yield from _agent(tmp_path, "tests.agent.fake_agent")


@pytest.fixture
def agent(idle: Process) -> Process:
    """A fake agent behind real TLS, running."""
    idle.start()
    return idle


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Process]:
    """The agent with its own member and faults, not running yet."""
    yield from _agent(tmp_path, "agent_service", "serve", "--settings")


def _agent(directory: Path, module: str, *arguments: str) -> Iterator[Process]:
    process = Process(directory, module, *arguments)
    try:
        yield process
    finally:
        process.close()
