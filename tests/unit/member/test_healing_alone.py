"""Healing in an agent's place: it stands between two agents, and must not take long to begin."""

from __future__ import annotations

import subprocess
import sys


def test_it_needs_no_web_server() -> None:
    shown = "import sys, agent_service.cli; print(*sorted({'fastapi', 'uvicorn', 'starlette'} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
    control = shown.replace("agent_service.cli", "agent_service.server")
    loaded = subprocess.run([sys.executable, "-c", control], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["fastapi", "starlette", "uvicorn"]
