"""Verdicts against a search through every order, on small histories, right and bent, both ways."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from tester.checkers import run_checkers
from tester.history.records import Watched, WatchEnd, WatchStart
from tester.results import Verdict
from tests.unit.checkers.bruteforce import BruteForce
from tests.unit.checkers.lies import bend_anything
from tests.unit.checkers.world import PREFIX, Mix, old_store, simulate

if TYPE_CHECKING:
    from tester.history.records import HistoryRecord
    from tests.unit.checkers.world import Run

CASES = int(os.environ.get("ETCD_CHAOS_FUZZ", "300"))
"""``make fuzz`` sets it to many more."""

many = settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def agree(run: Run, unseen: range = range(0)) -> None:
    (result,) = run_checkers(["linearizable"], run.history, run.end)
    expected = BruteForce(run, PREFIX, unseen=unseen).linearizable()
    event(f"{result.verdict}, truth {expected}")
    assert result.verdict is (Verdict.VALID if expected else Verdict.INVALID), result


def small_mix(rng: Random, operations: int) -> Mix:
    return Mix(
        operations=operations,
        clients=3,
        keys=2,
        unknown=rng.choice((0.0, 0.2, 0.5)),
        txns=rng.choice((0.0, 0.4)),
        deletes=rng.choice((0.1, 0.3)),
        leases=rng.choice((0.0, 0.2)),
        watchers=rng.choice((0, 1)),
        foreign=rng.choice((0.0, 0.1)),
        pinned=True,
        same_values=rng.random() < 0.3,
    )


@many
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 2))
def test_the_checker_agrees_with_the_search_through_every_order(
    seed: int, operations: int, bends: int
) -> None:
    rng = Random(seed)
    run = simulate(rng, small_mix(rng, operations))
    for _ in range(bends):
        run = bend_anything(run, rng)
    agree(run)


def cut(run: Run, first: int, last: int) -> tuple[Run, range]:
    """Its one watcher loses its stream, and the next one begins behind these revisions; which nobody saw."""
    records: list[HistoryRecord] = []
    seen, is_back = 0, False
    for record in run.records:
        if not isinstance(record, Watched):
            records.append(record)
            continue
        early = tuple(event for event in record.ev if event.m < first)
        late = tuple(event for event in record.ev if event.m > last)
        if not is_back and (early or (not record.ev and record.rev < first)):
            seen = max([record.rev, seen] if not record.ev else [event.m for event in early])
            records.append(Watched(record.w, record.at, seen, early))
        if late or (not record.ev and record.rev > last):
            if not is_back:
                is_back = True
                records.append(WatchEnd(record.w, record.at, "UNAVAILABLE"))
                records.append(WatchStart(record.w, record.at, "m1", PREFIX, last + 1, "l"))
            records.append(Watched(record.w, record.at, record.rev, late))
    return replace(run, records=records), range(seen + 1, last + 1)


@many
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(0, 2))
def test_a_gap_in_the_midst_is_searched_as_every_order_is(seed: int, operations: int, bends: int) -> None:
    rng = Random(seed)
    run = simulate(rng, replace(small_mix(rng, operations), watchers=1, foreign=0.0, unknown=0.5))
    for _ in range(bends):
        run = bend_anything(run, rng)
    first = rng.randint(2, max(2, run.store.revision))
    agree(*cut(run, first, rng.randint(first, max(first, run.store.revision))))


@many
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 2))
@example(seed=21308, operations=4, bends=0)  # either branch of a transaction in a transaction fits
@example(seed=3972, operations=5, bends=0)  # the version at the end counts a put that nobody saw
def test_what_may_have_been_there_before_is_never_invalid(seed: int, operations: int, bends: int) -> None:
    """The search knows what was there when the history began; the checker sees only what the history tells."""
    rng = Random(seed)
    begun = old_store(rng)
    run = simulate(rng, replace(small_mix(rng, operations), pinned=False), deepcopy(begun))
    for _ in range(bends):
        run = bend_anything(run, rng)
    (result,) = run_checkers(["linearizable"], run.history, run.end)
    expected = BruteForce(run, PREFIX, begun).linearizable()
    event(f"{result.verdict}, truth {expected}")
    assert not (expected and result.verdict is Verdict.INVALID), result


def test_lies_about_a_store_that_was_not_empty_are_found() -> None:
    """The control: most of those that the search refutes."""
    found = {Verdict.VALID: 0, Verdict.INVALID: 0, Verdict.UNKNOWN: 0}
    for seed in range(150):
        rng = Random(seed)
        begun = old_store(rng)
        run = simulate(rng, replace(small_mix(rng, 5), pinned=False), deepcopy(begun))
        run = bend_anything(run, rng)
        if not BruteForce(run, PREFIX, begun).linearizable():
            (result,) = run_checkers(["linearizable"], run.history, run.end)
            found[result.verdict] += 1
    assert found[Verdict.INVALID] > 2 * (found[Verdict.VALID] + found[Verdict.UNKNOWN]) > 0, found
