from random import Random

import pytest

from tester.load import statistics
from tester.load.statistics import Outcome, Statistics

SECOND = 1_000_000_000


def test_quantiles_are_close_to_the_exact_ones() -> None:
    rng = Random(1)
    latencies = sorted(int(rng.lognormvariate(14, 1.5)) + 1000 for _ in range(5000))
    taken = Statistics()
    for latency in latencies:
        taken.add(SECOND, latency, Outcome.OK)
    stats = taken.window(0, 2 * SECOND)
    assert stats.ok == 5000
    assert stats.p50 == pytest.approx(latencies[2499] / 1e9, rel=0.05)
    assert stats.p99 == pytest.approx(latencies[4949] / 1e9, rel=0.05)
    assert stats.max == latencies[-1] / 1e9


def test_every_latency_lies_in_the_bucket_it_is_put_in() -> None:
    for latency in [*range(3000), 10**5, 10**6, 10**7, 6 * 10**7]:
        middle = statistics._middle_us(statistics._index(latency))
        assert middle == pytest.approx(latency, rel=0.04, abs=0.5)


def test_a_window_takes_what_ended_in_it() -> None:
    taken = Statistics()
    for tenth in range(30):
        outcome = (Outcome.OK, Outcome.FAIL, Outcome.INFO)[tenth // 10]
        taken.add(
            tenth * SECOND // 10, 1_000_000, outcome, "" if outcome is Outcome.OK else f"e{tenth // 10}"
        )
    first, second, last = (taken.window(n * SECOND, (n + 1) * SECOND) for n in range(3))
    assert (first.ok, first.fail, first.info, first.errors) == (10, 0, 0, {})
    assert (second.ok, second.fail, second.info, second.errors) == (0, 10, 0, {"e1": 10})
    assert (last.ok, last.fail, last.info, last.errors) == (0, 0, 10, {"e2": 10})
    assert second.p50 is None
    assert first.seconds == 1.0


def test_memory_is_bounded_and_old_operations_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_FINE_KEPT", 50)
    taken = Statistics()
    for tenth in range(1000):
        taken.add(tenth * SECOND // 10, 1_000_000, Outcome.OK)
    assert len(taken._fine) == 50
    assert len(taken._coarse) == 10
    assert taken.window(0, 100 * SECOND).ok == 1000
    assert taken.window(0, 50 * SECOND).ok == 500


def test_a_sample_covers_the_time_since_the_last() -> None:
    taken = Statistics()
    for place in range(10):
        taken.add(place, 2_000_000, Outcome.OK)
    taken.add(20, 1, Outcome.INFO, "UNAVAILABLE")
    first = taken.sample(SECOND)
    assert (first.rate, first.ok, first.info, first.errors) == (11.0, 10, 1, {"UNAVAILABLE": 1})
    assert first.p99 == pytest.approx(0.002, rel=0.05)
    second = taken.sample(3 * SECOND)
    assert (second.rate, second.ok, second.info, second.errors, second.p99) == (0.0, 10, 1, {}, None)
