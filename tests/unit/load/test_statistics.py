from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from msgspec import structs

from tester.load import statistics
from tester.load.statistics import Outcome, Statistics
from tester.load.workers.gathered import Gathered

SECOND = 1_000_000_000
MS = 1_000_000


def test_quantiles_are_close_to_the_exact_ones() -> None:
    rng = Random(1)
    latencies = sorted(int(rng.lognormvariate(14, 1.5)) + 1000 for _ in range(5000))
    taken = Statistics()
    for latency in latencies:
        taken.add(SECOND, latency, Outcome.OK)
    stats = taken.window(0, 2 * SECOND)
    assert stats.ok == 5000
    assert stats.p50 == pytest.approx(latencies[2499] / 1e9, rel=0.05)
    assert stats.p95 == pytest.approx(latencies[4749] / 1e9, rel=0.05)
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


def test_windows_that_meet_share_out_all_operations_and_rates_are_of_what_they_took() -> None:
    taken = Statistics()
    for at in range(0, 3000, 2):
        taken.add(at * MS, MS, Outcome.OK)
    cuts = [0, 330, 335, 349, 351, 1000, 2222, 2222 + statistics.MARGIN_NS // MS, 3000]
    found = [taken.window(start * MS, end * MS) for start, end in pairwise(cuts)]
    assert sum(stats.ok for stats in found) == 1500
    # A window of two milliseconds has a whole tenth, and that is no 25 000 a second.
    assert [stats.rate for stats in found] == [500, 0, 0, 500, 500, 500, 500, 500]
    assert found[1].seconds == 0.005


def test_the_margin_takes_what_has_just_ended_and_no_more() -> None:
    taken = Statistics()
    for at in range(1000, 1400, 100):
        taken.add(at * MS, MS, Outcome.OK)
    assert [taken.window(0, at * MS + statistics.MARGIN_NS).ok for at in (1100, 1149, 1199, 1200)] == [
        2,
        2,
        2,
        3,
    ]


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


def gaps(taken: Statistics, start: int, end: int) -> list[tuple[int, int | None]]:
    return [
        (gap.start_ns // MS, None if gap.end_ns is None else gap.end_ns // MS)
        for gap in taken.window(start * MS, end * MS).gaps
    ]


def test_a_gap_is_where_operations_waited_and_none_was_answered() -> None:
    taken = Statistics()
    taken.add(1000 * MS, MS, Outcome.OK)
    taken.add(1300 * MS, 290 * MS, Outcome.INFO, "DEADLINE_EXCEEDED")  # asked for at 1010
    taken.add(1500 * MS, 2 * MS, Outcome.OK)
    taken.add(1550 * MS, 2 * MS, Outcome.OK)
    stats = taken.window(1000 * MS, 2000 * MS)
    assert gaps(taken, 1000, 2000) == [(1010, 1500)]
    assert (stats.gaps_total, stats.gap_seconds, stats.rate) == (1, 0.49, 3.0)
    # seen from both sides, whole; what lies in each is counted there
    assert gaps(taken, 900, 1200) == gaps(taken, 1400, 1600) == [(1010, 1500)]
    assert taken.window(1400 * MS, 1600 * MS).gap_seconds == 0.1
    assert gaps(taken, 1500, 2000) == []


def test_one_operation_that_takes_long_is_a_gap_only_if_nobody_else_is_answered() -> None:
    alone, beside = Statistics(), Statistics()
    for taken in (alone, beside):
        taken.add(1000 * MS, MS, Outcome.OK)
    for at in range(1050, 1400, 50):
        beside.add(at * MS, MS, Outcome.OK)
    for taken in (alone, beside):
        taken.add(1400 * MS, 300 * MS, Outcome.OK)
    assert gaps(alone, 0, 2000) == [(1100, 1400)]
    assert gaps(beside, 0, 2000) == []


def test_where_nobody_asks_there_is_no_gap() -> None:
    taken = Statistics()
    taken.add(1000 * MS, MS, Outcome.OK)
    taken.add(9000 * MS, MS, Outcome.OK)  # two operations a minute
    assert gaps(taken, 0, 10_000) == []
    taken.add(9050 * MS, MS, Outcome.FAIL, "UNAVAILABLE")
    taken.rest(9200 * MS)  # a pause of the load
    taken.add(20_000 * MS, MS, Outcome.OK)
    assert gaps(taken, 0, 30_000) == [(9049, 9200)]


def test_a_gap_that_has_not_ended_has_no_end() -> None:
    taken = Statistics()
    taken.add(1000 * MS, MS, Outcome.OK)
    taken.add(1100 * MS, MS, Outcome.INFO, "UNAVAILABLE")
    assert gaps(taken, 1000, 1150) == []  # not long enough to be one yet
    assert gaps(taken, 1000, 3000) == [(1099, None)]
    assert taken.window(1000 * MS, 3099 * MS).gap_seconds == 2.0


def test_of_many_gaps_the_longest_are_told_and_all_are_counted() -> None:
    taken = Statistics()
    for place in range(1, 16):
        taken.add(place * 1000 * MS, (100 + place) * MS, Outcome.OK)
    stats = taken.window(0, 20 * SECOND)
    assert (stats.gaps_total, len(stats.gaps)) == (15, 10)
    assert stats.gaps[0].end_ns == 6 * SECOND
    assert stats.gap_seconds == pytest.approx(sum(100 + place for place in range(1, 16)) / 1000)


def test_the_lag_of_a_window_is_its_greatest() -> None:
    taken = Statistics()
    taken.add(SECOND, 20 * MS, Outcome.OK, lag_ns=5 * MS)
    taken.add(SECOND, 20 * MS, Outcome.OK, lag_ns=3 * MS)
    assert taken.window(0, 2 * SECOND).lag == 0.005
    assert taken.window(2 * SECOND, 3 * SECOND).lag == 0.0


def test_reports_of_processes_add_up() -> None:
    alone, gathered = Statistics(), Gathered()
    parts = {"one": Statistics(), "two": Statistics()}
    rng = Random(3)
    for tenth in range(200):
        at = tenth * 30 * MS
        name = "one" if tenth % 3 else "two"
        outcome = Outcome.INFO if tenth % 17 == 0 else Outcome.OK
        latency = int(rng.lognormvariate(14, 1))
        for taken in (alone, parts[name]):
            taken.add(at, latency, outcome, "" if outcome is Outcome.OK else "UNAVAILABLE")
        if tenth % 20 == 19:
            for worker, taken in parts.items():
                gathered.take(worker, taken.report(0.5, [2, 0]))
    for start, end in ((0, 10), (1, 3), (2, 6)):
        one, other = (each.window(start * SECOND, end * SECOND) for each in (alone, gathered))
        assert replace(one, gaps=(), gaps_total=0, gap_seconds=0.0) == replace(
            other, gaps=(), gaps_total=0, gap_seconds=0.0
        )
    assert gathered.totals().ok == alone.ok
    assert gathered.totals().lag_seconds == 1.0
    assert gathered.steps(2) == [4, 0]
    assert gathered.sample(6 * SECOND).ok == alone.ok


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_as_much_is_known_of_any_number_of_workers(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cuts its tenths in two where it reports."""
    monkeypatch.setattr(statistics, "_FINE_KEPT", 50)
    gathered, parts = Gathered(), [Statistics() for _ in range(workers)]
    sampled = 0.0
    for at in range(0, 12_000, 10):
        for worker, taken in enumerate(parts):
            taken.add(at * MS, MS, Outcome.OK)
            if (at // 10) % 10 == worker:
                gathered.take(str(worker), taken.report(0.0, [0]))
        if at % 1000 == 990:
            sampled += gathered.sample((at + 10) * MS).rate  # of a second
    for worker, taken in enumerate(parts):
        gathered.take(str(worker), taken.report(0.0, [0]))
    sampled += gathered.sample(13 * SECOND).rate
    assert gathered.window(0, 12 * SECOND).ok == workers * 1200
    # fifty tenths as they were, the rest in stretches of ten seconds
    assert gathered.window(8 * SECOND, 9 * SECOND).ok == workers * 100
    assert gathered.window(7500 * MS, 12 * SECOND).ok == workers * 450
    assert gathered.window(0, 10 * SECOND).ok == workers * 1000
    assert sampled == pytest.approx(workers * 1200)


def test_what_hosts_report_late_or_apart_from_the_tenths_counts_once() -> None:
    gathered = Gathered()
    for worker, ats in (("near", range(100, 1100, 100)), ("far", range(130, 1130, 100))):
        taken = Statistics()
        for at in ats:
            taken.add(at * MS, MS, Outcome.OK)
        report = taken.report(0.0, [0])
        moved = [structs.replace(one, start_ns=one.start_ns - 30 * MS) for one in report.stretches]
        gathered.take(
            worker, structs.replace(report, stretches=moved if worker == "far" else report.stretches)
        )
        assert gathered.sample(2 * SECOND).ok == (10 if worker == "near" else 20)
    assert gathered.window(0, 2 * SECOND).ok == 20
    assert gathered.window(100 * MS, 600 * MS).ok == 10


def test_service_has_a_gap_where_all_processes_have_one() -> None:
    gathered = Gathered()
    for worker, answered in (("one", (1000, 1500, 3000)), ("two", (1100, 1250, 1900, 3100))):
        taken = Statistics()
        for before, at in pairwise(answered):
            taken.add(at * MS, (at - before) * MS, Outcome.OK)  # one client, always waiting
        gathered.take(worker, taken.report(0.0, [1, 0]))
    found = gathered.window(0, 4 * SECOND).gaps
    assert [(gap.start_ns // MS, gap.end_ns // MS if gap.end_ns else 0) for gap in found] == [
        (1100, 1250),
        (1250, 1500),
        (1500, 1900),
        (1900, 3000),
    ]


@pytest.mark.parametrize("answered", [False, True])
def test_a_worker_without_clients_hides_no_gap(*, answered: bool) -> None:
    """Of more workers than clients some have none; one that was answered has seen service."""
    gathered, served, idle = Gathered(), Statistics(), Statistics()
    served.add(SECOND, MS, Outcome.OK)
    served.add(6 * SECOND, 5 * SECOND - MS, Outcome.INFO, "DEADLINE_EXCEEDED")
    served.add(7 * SECOND, MS, Outcome.OK)
    if answered:
        for at in range(10, 70):
            idle.add(at * 100 * MS, MS, Outcome.OK)
    gathered.take("one", served.report(0.0, [0]))
    gathered.take("two", idle.report(0.0, [0]))
    assert len(gathered.window(0, 10 * SECOND).gaps) == (0 if answered else 1)


def test_a_worker_that_has_waited_all_the_time_hides_no_gap() -> None:
    """Until its first operation ends nobody knows of its gap, and then since when it lasts."""
    gathered, served, waiting = Gathered(), Statistics(), Statistics()
    served.add(2 * SECOND, 2 * SECOND, Outcome.INFO, "DEADLINE_EXCEEDED")
    gathered.take("one", served.report(0.0, [0]))
    for reported in range(2):
        if reported:
            waiting.add(5 * SECOND, 5 * SECOND, Outcome.INFO, "DEADLINE_EXCEEDED")
        gathered.take("two", waiting.report(0.0, [0]))
        (gap,) = gathered.window(0, 10 * SECOND).gaps
        assert (gap.start_ns, gap.end_ns) == (0, None)


def test_a_gap_that_is_open_everywhere_is_open() -> None:
    gathered = Gathered()
    for worker, since in (("one", 1000), ("two", 1400)):
        taken = Statistics()
        taken.add(since * MS, MS, Outcome.OK)
        taken.add((since + 300) * MS, 299 * MS, Outcome.INFO, "UNAVAILABLE")
        gathered.take(worker, taken.report(0.0, [1, 0]))
    (gap,) = gathered.window(0, 3 * SECOND).gaps
    assert (gap.start_ns // MS, gap.end_ns) == (1401, None)
