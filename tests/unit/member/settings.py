"""Settings and specs for tests: everything under one directory of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent_service.models import MemberSpec
from agent_service.settings import AgentSettings, TlsSettings

NOWHERE = Path("/nonexistent")


def agent_settings(base: Path, **changes: Any) -> AgentSettings:
    values = {
        "host": "host1",
        "listen_address": "127.0.0.1",
        "allowed_hosts": ("127.0.0.1",),
        "tls": TlsSettings(ca=NOWHERE, certificate=NOWHERE, key=NOWHERE, allowed_clients=("tester",)),
        "supervisor": "process",
        "etcd_root": base / "etcd",
        "state_dir": base / "state",
        "data_roots": (base / "data",),
        "log_dir": base / "log",
        "archive_dir": base / "archive",
    }
    return AgentSettings.model_validate(values | changes)


def member_spec(version: str = "3.5.1", **changes: Any) -> MemberSpec:
    values = {
        "name": "m1",
        "version": version,
        "client_url": "http://127.0.0.1:2379",
        "peer_url": "http://127.0.0.1:2380",
        "initial_cluster": {"m1": "http://127.0.0.1:2380"},
        "initial_cluster_token": "test",
    }
    return MemberSpec.model_validate(values | changes)
