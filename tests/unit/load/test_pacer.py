import asyncio
import time

import pytest

from tester.load.kinds import Arrivals
from tester.load.pacer import Pacer


class Time:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def slots(pacer: Pacer, clock: Time, seconds: float) -> int:
    end, taken = clock.now + seconds, 0
    while True:
        await pacer.slot()
        if clock.now >= end:
            return taken
        taken += 1


async def test_slots_come_at_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pacer = Pacer(50.0)
    assert await slots(pacer, clock, 2.0) == pytest.approx(100, abs=2)
    assert pacer.lag_seconds == 0.0


async def test_time_lost_is_lag_and_is_not_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pacer = Pacer(50.0)
    await pacer.slot()
    clock.now += 5.0
    assert await slots(pacer, clock, 1.0) == pytest.approx(50, abs=2)
    assert pacer.lag_seconds == pytest.approx(5.0, abs=0.1)


async def test_a_pause_is_no_lag_and_no_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pacer = Pacer(50.0)
    await pacer.slot()
    clock.now += 5.0
    pacer.restart()
    assert await slots(pacer, clock, 1.0) == pytest.approx(50, abs=2)
    assert pacer.lag_seconds == 0.0


async def test_without_a_rate_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pacer = Pacer(None)
    for _ in range(100):
        await pacer.slot()
    assert clock.now == 100.0


async def test_an_open_loop_hands_out_every_slot_and_says_how_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pacer = Pacer(50.0, Arrivals.OPEN)
    await pacer.slot()
    clock.now += 5.0
    late = [await pacer.slot() for _ in range(251)]
    assert clock.now == pytest.approx(105.02)  # 250 slots were due by then: all are taken at once
    assert late[0] == pytest.approx(4.98e9)
    assert late[-1] == pytest.approx(0, abs=1000)
    assert late == sorted(late, reverse=True)
    assert pacer.lag_seconds == pytest.approx(4.98)
