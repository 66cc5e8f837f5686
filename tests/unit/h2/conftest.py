from __future__ import annotations

import pytest

from tester.etcd.h2 import channel


@pytest.fixture(autouse=True)
def a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client and server share this process: a second to connect is not much when others use the machine."""
    monkeypatch.setattr(channel, "_CONNECT_SECONDS", 20)
