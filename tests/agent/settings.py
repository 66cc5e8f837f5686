"""Agent settings for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.settings import AgentSettings

if TYPE_CHECKING:
    from pathlib import Path


def agent_settings(directory: Path, **changes: object) -> AgentSettings:
    """Settings of an agent that lives in one directory, with the process supervisor."""
    fields: dict[str, object] = {
        "host": "h1",
        "listen_address": "127.0.0.1",
        "allowed_hosts": ["agent.test", "127.0.0.1"],
        "tls": {
            "ca": directory / "ca.crt",
            "certificate": directory / "agent.crt",
            "key": directory / "agent.key",
            "allowed_clients": ["tester"],
        },
        "supervisor": "process",
        "etcd_root": directory / "etcd",
        "state_dir": directory / "state",
        "data_roots": [directory / "data"],
        "log_dir": directory / "log",
        "archive_dir": directory / "archive",
    }
    return AgentSettings.model_validate(fields | changes)
