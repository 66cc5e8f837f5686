"""Operations from hosts with clocks of their own: truth stays truth, a lie stays a lie."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import pytest

from tester.checkers import OUT_OF_TIME, run_checkers
from tester.history.history import History
from tester.history.records import (
    ClockRecord,
    Delete,
    DeleteResult,
    Fail,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    Ok,
    Put,
)
from tester.load.hosts.hostclock import Exchange, HostClock
from tester.load.hosts.mapping import RecordMapper
from tester.results import Verdict
from tests.unit.checkers.lies import stale_read
from tests.unit.checkers.story import Story, kv
from tests.unit.checkers.world import Mix, Run, simulate
from tests.unit.load.encoded import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MS = 1_000_000
DAYS = 86_400 * 1000 * MS
PROOFS = ("linearizable", "serializable", "watch", "durability")


@dataclass
class Away:
    """A load host whose clock is off and drifts. Its answers take their time, all of it on the way back."""

    offset: int
    ppm: int
    slowest: int

    def clock(self, true: int) -> int:
        return true + true * self.ppm // 1_000_000 + self.offset

    def exchange(self, true: int, rng: Random) -> Exchange:
        back = rng.randrange(self.slowest)
        return Exchange(true - MS // 10, self.clock(true), true + back)


def in_ms(records: Sequence[HistoryRecord]) -> list[HistoryRecord]:
    """A step of the simulation takes a millisecond."""
    return [
        record if isinstance(record, Header) else msgspec.structs.replace(record, at=record.at * MS)
        for record in records
    ]


def seen_from_the_tester(host: Away, records: list[HistoryRecord], rng: Random) -> list[HistoryRecord]:
    clock, mapper = HostClock(), RecordMapper("w")
    clock.add(host.exchange(0, rng))
    found: list[HistoryRecord] = []
    for start in range(0, len(records), 8):
        chunk = records[start : start + 8]
        last = int(getattr(chunk[-1], "at", 0))
        there = [msgspec.structs.replace(one, at=host.clock(int(getattr(one, "at", 0)))) for one in chunk]
        mapper.take(lines(*there), last + 40 * MS)
        clock.add(host.exchange(last + 1, rng))
        found += mapper.settled(clock)
    return found + mapper.settled(clock, drained=True)


def by_midpoints(host: Away, records: list[HistoryRecord], rng: Random) -> list[HistoryRecord]:
    """As one might do it: the offset, and no word of its error."""
    clock = HostClock()
    clock.add(host.exchange(0, rng))
    offset, _ = clock.now()
    return [
        msgspec.structs.replace(one, at=host.clock(int(getattr(one, "at", 0))) - offset) for one in records
    ]


Seen: TypeAlias = "Callable[[Away, list[HistoryRecord], Random], list[HistoryRecord]]"


def spread(run: Run, hosts: Sequence[Away], rng: Random, seen: Seen) -> History:
    """The same history, its clients dealt out over the tester and some hosts."""
    parts: list[list[HistoryRecord]] = [[] for _ in range(len(hosts) + 1)]
    places: dict[int, int] = {}
    for record in in_ms(run.records):
        place = 0
        if isinstance(record, Invoke):
            place = places[record.id] = record.c % len(parts)
        elif isinstance(record, Ok | Info | Fail):
            place = places[record.id]
        parts[place].append(record)
    mapped = [seen(host, part, rng) for host, part in zip(hosts, parts[1:], strict=True)]
    return History(heapq.merge(parts[0], *mapped, key=lambda record: int(getattr(record, "at", -1))))


def judged(
    run: Run, hosts: Sequence[Away], rng: Random, seen: Seen = seen_from_the_tester
) -> dict[str, Verdict]:
    end = msgspec.structs.replace(run.end, at=run.end.at * MS + DAYS)
    checks = run_checkers(PROOFS, spread(run, hosts, rng, seen), end)
    return {check.checker: check.verdict for check in checks}


def test_a_clean_history_is_valid_however_far_the_clocks_are_apart() -> None:
    hosts = (Away(10 * DAYS, 300, MS // 4), Away(-3 * DAYS, -450, MS // 4))
    for seed in range(15):
        rng = Random(seed)
        run = simulate(rng, Mix(unknown=0.0, leases=0.0, serializable=0.2))
        assert judged(run, hosts, rng) == dict.fromkeys(PROOFS, Verdict.VALID), seed


def test_bounds_wider_than_operations_are_long_never_accuse() -> None:
    hosts = (Away(10 * DAYS, 300, 60 * MS), Away(-3 * DAYS, -450, 60 * MS))
    for seed in range(20):
        rng = Random(seed)
        run = simulate(rng, Mix())
        assert Verdict.INVALID not in judged(run, hosts, rng).values(), seed


def test_the_control_without_bounds_the_innocent_are_accused() -> None:
    hosts = (Away(10 * DAYS, 300, 60 * MS), Away(-3 * DAYS, -450, 60 * MS))

    def accused(seed: int) -> bool:
        rng = Random(seed)
        return Verdict.INVALID in judged(simulate(rng, Mix()), hosts, rng, by_midpoints).values()

    assert any(map(accused, range(60)))


def test_a_stale_read_across_hosts_is_caught() -> None:
    hosts = (Away(10 * DAYS, 300, MS // 4), Away(-3 * DAYS, -450, MS // 4))
    told = 0
    for seed in range(30):
        rng = Random(seed)
        bent = stale_read(simulate(rng, Mix(unknown=0.05)), rng)
        if bent is None:
            continue
        told += 1
        assert judged(bent, hosts, rng)["linearizable"] is Verdict.INVALID, seed
    assert told > 5


@pytest.mark.parametrize("lie", [None, stale_read])
def test_where_a_clock_was_lost_times_prove_nothing(lie: Callable[[Run, Random], Run | None] | None) -> None:
    """Neither that all was well nor that something was not; what asks for no time is judged as ever."""
    for seed in range(5):
        rng = Random(seed)
        run = simulate(rng, Mix(unknown=0.0))
        run = (lie and lie(run, rng)) or run
        history = run.history
        names = (*PROOFS, "kv-hash")
        before = run_checkers(names, history, run.end)
        history.extend(
            [ClockRecord(1, "node4", 5, 7), ClockRecord(2, "node4", 5, 7, lost="it went back by 1.000000 s")]
        )
        for was, check in zip(before, run_checkers(names, history, run.end), strict=True):
            if check.checker in OUT_OF_TIME or was.verdict is Verdict.UNKNOWN:
                assert check.verdict is was.verdict
                continue
            assert check.verdict is Verdict.UNKNOWN
            assert check.message.startswith(
                "the times of operations from load host node4 are not known: it went back by 1.000000 s"
            )
            assert f"if they were right: {was.verdict}" in check.message


def test_an_operation_after_the_check_whose_call_is_told_too_early_is_not_judged_by_it() -> None:
    """The load of the next case goes on when the content was read: its revisions are none of that content's."""

    def judged(ret: int) -> Verdict:
        story = Story()
        story.records.append(ClockRecord(1, "load1", 0, 20 * MS))
        story.put("ka", "1:4", 2)
        end = story.end(2, kv("ka", "1:4", 2))
        story.records += [
            Invoke(50, end.at - 15 * MS, 1, "m1", Put("ka", "2:4")),
            Ok(50, end.at + ret * MS, 3),
        ]
        (result,) = run_checkers(["durability"], story.history, end)
        return result.verdict

    assert judged(30) is Verdict.VALID
    assert judged(-1) is Verdict.INVALID, "it had been answered"


def test_an_operation_before_the_check_whose_end_is_told_too_late_explains_its_content() -> None:
    def judged(deleted_at: int) -> Verdict:
        story = Story()
        story.records.append(ClockRecord(1, "load1", 0, 20 * MS))
        story.put("ka", "1:4", 2)
        story.put("kb", "2:4", 3)
        end = story.end(4, kv("kb", "2:4", 3))
        story.records += [
            Invoke(50, end.at - 15 * MS, 1, "m1", Delete("ka")),
            Ok(50, end.at + 5 * MS, deleted_at, 1, DeleteResult(1)),
        ]
        (result,) = run_checkers(["durability"], story.history, end)
        return result.verdict

    assert judged(4) is Verdict.VALID
    assert judged(5) is Verdict.INVALID, "the content is older than that"
