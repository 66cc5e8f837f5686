from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import pyarrow.parquet as pq
import pytest

from tester.checkers import CHECKERS, run_checkers
from tester.errors import UsageError
from tester.history.endstate import EndState
from tester.history.loading import load_history, records_of
from tester.history.parquet import ParquetError, write_parquet
from tester.history.records import (
    Compact,
    FaultRecord,
    HistoryRecord,
    Invoke,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Ok,
    PhaseRecord,
    Put,
    PutResult,
)
from tests.unit.checkers.world import Mix, simulate

DOCUMENTATION = Path(__file__).parents[3] / "docs/history.md"

ODD: tuple[HistoryRecord, ...] = (
    PhaseRecord(1, 1, "inject", "a"),
    FaultRecord(2, "f", "kill", "m1", "injected"),
    Invoke(9001, 3, 1, "m1", Compact(5, physical=True)),
    Ok(9001, 4, 5, 2),
    Invoke(9002, 3, 2, "m1", LeaseGrant(7, 60)),
    Invoke(9003, 5, 1, "m9", Put("größe", "1:4")),
    Ok(9002, 6, 5, 2, LeaseResult(61)),
    Ok(9003, 7, 6, 2, PutResult()),
    Invoke(9004, 8, 1, "m1", LeaseKeepAlive(7)),
    Invoke(9005, 8, 3, "m1", Put("open", "2:4", 7)),
)


def records(seed: int) -> list[HistoryRecord]:
    """Everything a history may hold."""
    run = simulate(Random(seed), Mix(operations=60, unknown=0.2, serializable=0.2, leases=0.2, breaks=0.1))
    return [*run.records, *ODD]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_converted_comes_back_line_by_line(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "h.parquet"
    write_parquet(records(seed), path)
    assert list(records_of(path)) == records(seed)


@pytest.mark.parametrize("seed", range(20))
def test_verdicts_do_not_depend_on_the_form(tmp_path: Path, seed: int) -> None:
    run = simulate(Random(seed), Mix(operations=60, unknown=0.2, serializable=0.2, leases=0.2, breaks=0.1))
    write_parquet(run.records, tmp_path / "h.parquet")
    (tmp_path / "h.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(run.records))
    judged = [
        [
            replace(result, elapsed_seconds=0.0)
            for result in run_checkers(CHECKERS, load_history(tmp_path / name), run.end)
        ]
        for name in ("h.parquet", "h.jsonl")
    ]
    assert judged[0] == judged[1]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        write_parquet(ODD, tmp_path)


@pytest.mark.parametrize("name", ["operations", "lines", "values", "events"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "h.parquet"
    write_parquet(records(1), path)
    (path / f"{name}.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(ParquetError, match=name):
        load_history(path)
    (path / f"{name}.parquet").unlink()
    with pytest.raises((ParquetError, UsageError)):
        load_history(path)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tester.history.parquet.PARQUET_VERSION", 2)
    write_parquet(ODD, tmp_path / "h.parquet")
    monkeypatch.undo()
    with pytest.raises(ParquetError, match="version 2"):
        load_history(tmp_path / "h.parquet")


def test_without_pyarrow_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as raised:
        write_parquet(ODD, tmp_path / "h.parquet")
    assert "etcd-chaos[parquet]" in (raised.value.remedy or "")


def test_an_empty_history_has_a_form_too(tmp_path: Path) -> None:
    write_parquet([], tmp_path / "h.parquet")
    assert list(records_of(tmp_path / "h.parquet")) == []
    assert run_checkers(["linearizable"], load_history(tmp_path / "h.parquet"), EndState(1, {}))


def test_the_documentation_names_every_column(tmp_path: Path) -> None:
    write_parquet(records(1), tmp_path / "h.parquet")
    rows = [line for line in DOCUMENTATION.read_text().splitlines() if line.startswith("| `")]
    for file in (tmp_path / "h.parquet").iterdir():
        if file.stem == "previous":  # "as answers"
            continue
        row = next(row for row in rows if f"`{file.stem}`" in row.split("|")[1])
        missing = [name for name in pq.read_schema(file).names if f"`{name}`" not in row]
        assert not missing, (file.stem, missing)
