from __future__ import annotations

import pytest

from agent_service import ratelimit
from agent_service.ratelimit import RateLimit


def test_a_burst_then_the_rate_and_each_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(ratelimit, "monotonic", lambda: now)
    limit = RateLimit(10)
    assert [limit.wait_seconds("a") for _ in range(20)] == [0.0] * 20
    assert limit.wait_seconds("a") == pytest.approx(0.1)
    assert limit.wait_seconds("b") == 0.0, "the control"
    now += 0.25
    assert [limit.wait_seconds("a") for _ in range(2)] == [0.0] * 2
    assert limit.wait_seconds("a") == pytest.approx(0.05)
    now += 3600
    assert [limit.wait_seconds("a") == 0.0 for _ in range(21)] == [True] * 20 + [False]
