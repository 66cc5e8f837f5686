"""Clocks of other machines: what is said of a time on the run clock must hold, whatever the clocks do within reason."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tester.history.history import History
from tester.history.records import (
    ClaimRecord,
    HistoryRecord,
    Info,
    Invoke,
    Ok,
    Put,
    Watched,
    WatchEnd,
    WatchStart,
)
from tester.load.hosts.hostclock import MAX_DRIFT, Bounds, ClockLostError, Exchange, HostClock, best
from tester.load.hosts.mapping import RecordMapper
from tests.unit.load.encoded import lines

DAYS = 86_400 * 10**9
SECOND = 10**9


@dataclass
class World:
    """True time is the run clock's; the host's is off by anything, and drifts by what is allowed."""

    rng: random.Random
    offset: int
    drift_ppm: float

    def __post_init__(self) -> None:
        self.true = 5 * SECOND
        self.host = self.true + self.offset
        self._part = 0.0

    def sleep(self, ns: int) -> None:
        drift = self.drift_ppm * self.rng.choice((1, -1, self.rng.random()))
        self.true += ns
        passed = ns * (1 + drift / 1e6) + self._part
        self.host += int(passed)
        self._part = passed - int(passed)

    def exchange(self, slowest: int) -> Exchange:
        asked = self.true
        self.sleep(self.rng.randrange(slowest))
        host = self.host
        self.sleep(self.rng.randrange(slowest))
        return Exchange(asked, host, self.true)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return World(
        random.Random(draw(st.integers(0, 2**32))),
        draw(st.integers(-20 * DAYS, 20 * DAYS)),
        draw(st.floats(0, 900)),
    )


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(10_000, 50_000_000))
def test_bounds_hold_the_true_time_and_keep_the_order(world: World, slowest: int) -> None:
    clock = HostClock()
    clock.add(best([world.exchange(slowest) for _ in range(4)]))
    moments: list[tuple[int, int]] = []
    for _ in range(12):
        for _ in range(5):
            world.sleep(world.rng.randrange(200_000_000))
            moments.append((world.host, world.true))
        clock.add(best([world.exchange(slowest) for _ in range(4)]))
    before = None
    for host, true in moments:
        bounds = clock.on_run_clock(host)
        assert bounds.earliest <= true <= bounds.latest
        # No wider than the round trips and the drift between two exchanges make it.
        assert bounds.error <= 2 * slowest + 1_000_000_000 // 500 + 2
        if before is not None:
            assert bounds.earliest >= before
        before = bounds.earliest


def test_a_quick_exchange_makes_up_for_slow_ones_around_it() -> None:
    clock = HostClock()
    clock.add(Exchange(0, 100_000_000, 10_000_000))
    clock.add(Exchange(1_000_000_000, 1_100_100_000, 1_000_200_000))
    clock.add(Exchange(1_000_300_000, 1_105_000_000, 1_050_000_000))
    assert clock.on_run_clock(1_105_000_000).error < 1_000_000
    offset, error = clock.now()
    assert abs(offset - 100_000_000) <= error


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (1 * SECOND, "it went back by 4.000000 s"),
        (7 * SECOND, "at least 0.9"),
        (5 * SECOND + SECOND // 2, "the host was suspended"),
    ],
)
def test_a_clock_that_jumped_is_lost(host: int, said: str) -> None:
    clock = HostClock()
    clock.add(Exchange(5 * SECOND, 5 * SECOND, 5 * SECOND + 1_000_000))
    with pytest.raises(ClockLostError, match=said):
        clock.add(Exchange(6 * SECOND, host, 6 * SECOND + 1_000_000))
    # what comes later is judged by itself
    clock.add(Exchange(7 * SECOND, host + SECOND, 7 * SECOND + 1_000_000))
    assert clock.on_run_clock(host + SECOND).error <= 500_001


def test_drift_as_fast_as_is_allowed_is_no_jump() -> None:
    clock = HostClock()
    for number in range(100):
        true = number * SECOND
        clock.add(Exchange(true, true + int(true * MAX_DRIFT), true))


def test_nothing_is_known_before_an_exchange() -> None:
    with pytest.raises(ValueError, match="no exchange"):
        HostClock().on_run_clock(1)
    with pytest.raises(ValueError, match="no exchange"):
        HostClock().now()


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_records_come_in_order_and_claim_no_order_that_was_not(world: World) -> None:
    """Operations of a host, cut into chunks anywhere: on the run clock each contains what it was."""
    rng, slowest = world.rng, 2_000_000
    clock, mapper = HostClock(), RecordMapper("w")
    clock.add(world.exchange(slowest))
    true: dict[tuple[str, int], int] = {}
    settled: list[HistoryRecord] = []
    written, number, open_ids = b"", 0, []
    for _ in range(15):
        for _ in range(rng.randrange(12)):
            world.sleep(rng.randrange(3_000_000))
            if open_ids and rng.random() < 0.6:
                one = open_ids.pop(rng.randrange(len(open_ids)))
                true["end", one] = world.true
                written += lines(Ok(one, world.host, one + 1))
            else:
                number += 1
                open_ids.append(number)
                true["call", number] = world.true
                written += lines(Invoke(number, world.host, 1, "m1", Put("k", f"{number}:9")))
        cut = rng.randrange(len(written) + 1)
        mapper.take(written[:cut], world.true)
        written = written[cut:]
        clock.add(world.exchange(slowest))
        settled += mapper.settled(clock)
    mapper.take(written, world.true)
    clock.add(world.exchange(slowest))
    settled += mapper.settled(clock, drained=True)
    assert len(settled) == len(true)
    times = [record.at for record in settled]
    assert times == sorted(times)
    for record in settled:
        if isinstance(record, Invoke):
            assert record.at <= true["call", record.id]
        else:
            assert isinstance(record, Ok)
            assert record.at >= true["end", record.id]
    assert mapper.error >= 0


def test_each_kind_of_record_moves_to_where_it_claims_least() -> None:
    clock = HostClock()
    clock.add(Exchange(0, 1_000 * SECOND, 2_000_000))
    mapper = RecordMapper("w")
    at = 1_000 * SECOND + 500_000
    records: list[HistoryRecord] = [
        WatchStart(1, at, "m1", "k", 0),
        Watched(1, at, 3),
        WatchEnd(1, at, "gone"),
        WatchStart(1, at, "m1", "k", 4),
        Invoke(1, at, 1, "m1", Put("k", "1:9")),
        Info(1, at, "UNAVAILABLE"),
        *(
            ClaimRecord(at, 1, "lock", "l", state, "k", 3)
            for state in ("held", "observed", "released", "lost")
        ),
    ]
    mapper.take(lines(*records), 10 * SECOND)
    clock.add(Exchange(SECOND, 1_001 * SECOND, SECOND + 2_000_000))
    mapped = mapper.settled(clock, drained=True)
    early = {type(one).__name__ + getattr(one, "state", "") for one in mapped if one.at < 500_000}
    late = [type(one).__name__ + getattr(one, "state", "") for one in mapped if one.at > 500_000]
    assert early == {"Invoke", "ClaimRecordreleased", "ClaimRecordlost"}
    # a session ends before the next one of the same watcher begins
    assert late == [
        "WatchStart",
        "Watched",
        "WatchEnd",
        "WatchStart",
        "Info",
        "ClaimRecordheld",
        "ClaimRecordobserved",
    ]
    assert 900_000 < mapper.error < 1_100_000


def test_nothing_happened_after_it_was_here() -> None:
    clock = HostClock()
    clock.add(Exchange(0, 0, 50_000_000))
    mapper = RecordMapper("w")
    mapper.take(lines(Watched(1, 10_000_000, 3)), 12_000_000)
    clock.add(Exchange(12_000_000, 20_000_000, 60_000_000))
    (one,) = mapper.settled(clock, drained=True)
    assert getattr(one, "at") == 12_000_000  # noqa: B009 - a union of kinds


def test_a_host_that_stood_still_while_it_was_asked_leaves_operations_whole() -> None:
    """It was suspended after its history was fetched, and before its clock was: the next exchange is 3 s late."""
    clock, ms = HostClock(), 1_000_000
    clock.add(Exchange(0, 0, ms))
    mapper = RecordMapper("w")
    mapper.take(lines(Invoke(1, 199 * ms, 1, "m1", Put("k", "1:9")), Ok(1, 200 * ms, 2)), 201 * ms)
    with pytest.raises(ClockLostError):
        clock.add(Exchange(3202 * ms, 203 * ms, 3203 * ms))
    settled = mapper.settled(clock) + mapper.settled(clock, drained=True)
    assert [type(record) for record in settled] == [Invoke, Ok]
    assert len(History(settled).operations) == 1


def test_a_copy_stays_as_it_was() -> None:
    """One thread maps with it while another worker's exchanges go on; also when they lose the clock."""
    clock = HostClock()
    clock.add(Exchange(0, 0, 1000))
    copy = clock.as_of_now()
    with pytest.raises(ClockLostError):
        clock.add(Exchange(3 * SECOND, SECOND, 3 * SECOND + 1000))
    assert copy.on_run_clock(0) == Bounds(-1, 1000)


def test_what_is_no_history_is_told_by_the_workers_name() -> None:
    with pytest.raises(Exception, match="load worker 3 on node4: what it wrote is no history"):
        RecordMapper("load worker 3 on node4").take(b'{"t":"nonsense"}\n', 1)
