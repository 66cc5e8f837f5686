"""What we export for porcupine is judged as we judge it, by a judge that has read nothing but the file.

The judge is a search of the tests' own; and porcupine itself, where ``ETCD_CHAOS_PORCUPINE`` names the program of
docs/porcupine (docs/history.md says how to build it).
"""

from __future__ import annotations

import os
import subprocess
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import run_checkers
from tester.cli.entry import run_command
from tester.errors import ExitCode
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.records import Invoke, KeyValue, Ok, Put, Range, RangeResult
from tester.results import Verdict
from tests.unit.history import winggong
from tests.unit.history.registerworld import register_history

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tester.history.records import HistoryRecord

    Judge = Callable[[Path], bool]

SEEDS = range(40)


def ask_porcupine(path: Path) -> bool:
    command = [os.environ["ETCD_CHAOS_PORCUPINE"], str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.stdout.strip() in {"Ok", "Illegal"}, answer
    return answer.returncode == 0


@pytest.fixture(params=["search", "porcupine"])
def judge(request: pytest.FixtureRequest) -> Judge:
    if request.param == "search":
        return winggong.is_linearizable
    if "ETCD_CHAOS_PORCUPINE" not in os.environ:
        pytest.skip("ETCD_CHAOS_PORCUPINE names no porcupine: docs/history.md says how to build it")
    return ask_porcupine


def export(records: list[HistoryRecord], directory: Path) -> Path:
    source, target = directory / "a.jsonl", directory / "b.jsonl"
    source.write_bytes(msgspec.json.Encoder().encode_lines(records))
    target.unlink(missing_ok=True)
    command = ["history", "convert", str(source), str(target), "--to", "porcupine"]
    assert run_command(command) == ExitCode.VALID
    return target


def our_verdict(records: list[HistoryRecord]) -> Verdict:
    (result,) = run_checkers(["linearizable"], History(records), EndState(2**62, {}))
    return result.verdict


def with_another_value(
    records: list[HistoryRecord], rng: Random, values: Callable[[str], list[str]]
) -> list[HistoryRecord] | None:
    """One read that found a key returns one of ``values`` of that key instead."""
    reads = [
        (place, record, kv)
        for place, record in enumerate(records)
        if isinstance(record, Ok) and isinstance(record.out, RangeResult)
        for kv in record.out.kv
    ]
    if not reads:
        return None
    place, ok, kv = rng.choice(reads)
    others = [value for value in values(kv.k) if value != kv.v]
    if not others:
        return None
    told = RangeResult((msgspec.structs.replace(kv, v=rng.choice(others)),), 1)
    return [*records[:place], msgspec.structs.replace(ok, out=told), *records[place + 1 :]]


def test_clean_histories_pass_both(tmp_path: Path, judge: Judge) -> None:
    for seed in SEEDS:
        records = register_history(Random(seed))
        assert our_verdict(records) is Verdict.VALID
        assert judge(export(records, tmp_path)), seed


def test_a_value_from_nowhere_is_caught_by_both(tmp_path: Path, judge: Judge) -> None:
    told = 0
    for seed in SEEDS:
        rng = Random(seed)
        bent = with_another_value(register_history(rng), rng, lambda _: ["9999:4"])
        if bent is None:
            continue
        told += 1
        assert our_verdict(bent) is Verdict.INVALID
        assert not judge(export(bent, tmp_path)), seed
    assert told > len(SEEDS) // 2


def test_who_knows_no_revisions_catches_no_lie_that_we_do_not(tmp_path: Path, judge: Judge) -> None:
    """The value of another put: whether registers alone can tell is chance; a revision always does."""
    caught = {False: 0, True: 0}
    for seed in SEEDS:
        rng = Random(seed)
        records = register_history(rng)
        put = [(r.op.k, r.op.v) for r in records if isinstance(r, Invoke) and isinstance(r.op, Put)]
        bent = with_another_value(records, rng, lambda key, put=put: [v for k, v in put if k == key])
        if bent is None:
            continue
        assert our_verdict(bent) is Verdict.INVALID
        caught[not judge(export(bent, tmp_path))] += 1
    assert caught[True] > len(SEEDS) // 4
    assert caught[False] < caught[True]


def test_the_search_finds_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    """The judge itself: a read of a value after its overwriting had ended is wrong, one that overlaps it is not."""
    for called, right in ((45, False), (35, True)):
        moments: list[HistoryRecord] = [
            Invoke(1, 10, 1, "m1", Put("k", "1:4")),
            Ok(1, 20, 2),
            Invoke(2, 30, 1, "m1", Put("k", "2:4")),
            Ok(2, 40, 3),
        ]
        read = Invoke(3, called, 2, "m1", Range("k"))
        moments = sorted([*moments, read], key=lambda record: record.at)
        moments.append(Ok(3, 60, 2, 1, RangeResult((KeyValue("k", "1:4", 2, 2, 1),), 1)))
        assert winggong.is_linearizable(export(moments, tmp_path)) is right
