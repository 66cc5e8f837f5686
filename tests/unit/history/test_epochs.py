"""Histories with a disaster in them, in every form they are kept in."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.cli.entry import run_command
from tester.errors import ExitCode, UsageError
from tester.history.epochs import views_of
from tester.history.loading import load_history, records_of
from tester.history.parquet import write_parquet
from tester.history.registers import as_registers
from tester.history.summary import summarize
from tests.unit.checkers.epochworld import simulate_disaster
from tests.unit.checkers.world import Mix

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.checkers.world import Run


@pytest.fixture
def run() -> Run:
    return simulate_disaster(Random(3), Mix(unknown=0.05), epochs=3)


def test_one_view_for_each_cluster_with_its_end(run: Run) -> None:
    views = views_of(run.history, lambda: run.records)
    assert [[epoch.n for epoch in view.epochs] for view in views] == [[2], [3], []]
    assert [{record.m for record in view.restored} for view in views] == [{"m1", "m2", "m3"}] * 2 + [set()]
    assert all(view.header is not None for view in views)
    assert sum(len(view.operations) for view in views) > len(run.history.operations), "the kept are in each"
    first, *_ = views
    assert views_of(first, lambda: run.records)[0] is not first
    whole = simulate_disaster(Random(3), Mix(), epochs=1).history
    assert views_of(whole, lambda: pytest.fail("nobody has to read")) == (whole,)


def test_parquet_keeps_epochs_and_a_saved_run_is_judged_by_them(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, table = tmp_path / "history.jsonl", tmp_path / "history.parquet"
    lines.write_bytes(msgspec.json.Encoder().encode_lines(run.records))
    write_parquet(run.records, table)
    assert list(records_of(table)) == run.records
    assert load_history(table).epochs == run.history.epochs
    run.end.save(tmp_path / "end-state-c.json")
    asked = [word for name in ("durability", "restore", "linearizable") for word in ("--checker", name)]
    told = []
    for path in (lines, table):
        assert run_command(["check", str(path), *asked]) == ExitCode.VALID
        told.append(capsys.readouterr().out.splitlines()[1:])
    assert told[0] == told[1]
    assert any("epoch 1: restored at revision" in line for line in told[0])


def test_registers_know_no_epochs(run: Run) -> None:
    with pytest.raises(UsageError, match="no register forgets by design"):
        as_registers(run.records)


def test_a_summary_names_them(run: Run) -> None:
    text = summarize(run.records).text()
    assert f"cluster 3, restored at revision {run.history.epochs[1].rev} from m1" in text
