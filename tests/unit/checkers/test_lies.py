"""Every lie is caught by the checker of its kind, and the truth is never called a lie."""

from __future__ import annotations

import re
from random import Random

import pytest

from tester.checkers import CHECKERS, run_checkers
from tester.checkers.explanations import EXPLANATIONS
from tester.history.history import History
from tester.history.records import CompactionRecord, WatchEnd
from tester.results import Verdict
from tests.unit.checkers.epochworld import simulate_disaster
from tests.unit.checkers.lies import LIES
from tests.unit.checkers.world import Mix, simulate

# What a violation of ``watch`` says beside the change itself: the other half of the contradiction.
HALVES = {
    "filter": "it had asked for ",
    "ordered": r"; after (put|delete) ",
    "unique": "it had been told at ",
    "atomic": "a response before had (put|delete) ",
    "bookmarkable": "a bookmark at .* had said that all up to revision ",
    "resumable": "from revision ",
    "reliable": "; (others were told |no other watcher was told of it|another watcher was|the client that wrote it)",
    "header": "; the header of that response is of revision ",
    "is-create": "by what came before it is create revision ",
    "prev-kv": "; there was ",
    "compaction": "it was told that revision ",
}

PROOFS = (
    "linearizable",
    "serializable",
    "watch",
    "durability",
    "kv-hash",
    "exits",
    "availability",
    "restore",
)

MIXES = {
    "everything": Mix(),
    "no watchers": Mix(watchers=0),
    "half unknown": Mix(unknown=0.5, watchers=1),
    "values repeat": Mix(unknown=0.4, same_values=True, keys=2),
    "leases": Mix(leases=0.4, unknown=0.3, keys=6),
    "transactions": Mix(txns=0.7, deletes=0.3),
    "acknowledged only, unseen": Mix(unknown=0.0, watchers=0, leases=0.0),
    "reconnections": Mix(breaks=0.1, leases=0.3),
    "gaps in the watch log": Mix(breaks=0.3, watchers=1, unknown=0.3),
    "long": Mix(operations=1500, clients=8, keys=20),
}


def test_there_are_lies_of_many_kinds() -> None:
    assert len(LIES) >= 30
    assert {checker for _, checker in LIES.values()} == set(PROOFS)


def test_every_checker_and_every_guarantee_is_explained() -> None:
    assert {name.partition("/")[0] for name in EXPLANATIONS} == set(CHECKERS) - {"progress"}  # never invalid
    assert {name.partition("/")[2] for name in EXPLANATIONS if "/" in name} == set(HALVES)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_caught(name: str) -> None:
    lie, checker = LIES[name]
    told = 0
    for seed in range(200):
        rng = Random(seed)
        mix = Mix(unknown=0.05, serializable=0.3)
        run = simulate_disaster(rng, mix) if checker == "restore" else simulate(rng, mix)
        bent = lie(run, rng)
        if bent is None:
            continue
        told += 1
        (truth,) = run_checkers([checker], run.history, run.end, lambda run=run: run.records)
        assert truth.verdict is not Verdict.INVALID, (seed, truth)
        (result,) = run_checkers([checker], bent.history, bent.end, lambda bent=bent: bent.records)
        assert result.verdict is Verdict.INVALID, (seed, result)
        assert result.findings
        assert result.explanation
        for finding in result.findings if checker == "watch" else ():
            kind = finding.message.partition(":")[0]
            assert re.search(HALVES[kind], finding.message), finding.message
        if told == 3:
            return
    pytest.fail(f"the lie was told {told} times only")


@pytest.mark.parametrize("name", MIXES)
def test_a_right_history_is_never_invalid(name: str) -> None:
    for seed in range(3 if name == "long" else 40):
        run = simulate(Random(seed), MIXES[name])
        for result in run_checkers(PROOFS, run.history, run.end):
            assert result.verdict is not Verdict.INVALID, (seed, result)
            if result.checker == "linearizable":
                assert result.verdict is Verdict.VALID, (seed, result)


def test_a_compaction_of_the_tester_is_one_that_was_asked_for() -> None:
    run = simulate(Random(3), Mix(breaks=0.0))
    claimed = run.store.revision + 1
    told = [WatchEnd(0, run.end.at, "compacted", compacted=claimed + 1)]
    for asked, verdict in (
        ([CompactionRecord(run.end.at - 1, claimed + 1)], Verdict.VALID),
        ([CompactionRecord(run.end.at - 1, claimed)], Verdict.INVALID),
        ([CompactionRecord(run.end.at + 1, claimed + 1)], Verdict.INVALID),
        ([], Verdict.INVALID),
    ):
        (result,) = run_checkers(["watch"], History([*run.records, *asked, *told]), run.end)
        assert result.verdict is verdict, (asked, result)
