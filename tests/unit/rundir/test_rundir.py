from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tester.errors import InfrastructureError, UsageError
from tester.rundir import MARKER, RunDirectory, RunInfo
from tests.unit.console import fakerun

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INFO = RunInfo("quick", 42, 1, "0.1.0", "3.5.1", ("etcd-chaos", "run"), {"h1": "10.0.0.1"}, {"h1": "0.1.0"})


def create(base: Path) -> RunDirectory:
    return RunDirectory.create(base, "quick", 42, started=START)


def test_a_run_directory_is_named_marked_and_the_latest(tmp_path: Path) -> None:
    made = create(tmp_path / "a" / "runs")
    assert made.path == tmp_path / "a" / "runs" / "20260102T030405Z-quick-42"
    assert (made.path / MARKER).is_file()
    again = create(tmp_path / "a" / "runs")
    assert again.path.name == "20260102T030405Z-quick-42-2"
    latest = tmp_path / "a" / "runs" / "latest"
    assert latest.is_symlink()
    assert RunDirectory.open(latest).path == again.path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    made = create(tmp_path)
    made.write_scenario("name: größe\n", '{"name": "größe"}')
    made.write_info(INFO)
    first = made.make_round(1)
    first.write_result(fakerun.ROUND_1)
    made.make_round(2)
    first.write_end_state("kill-one", b"{}")
    made.write_result(fakerun.RUN)

    found = RunDirectory.open(made.path)
    assert found.scenario.read_text(encoding="utf-8") == "name: größe\n"
    assert found.resolved_scenario.read_text(encoding="utf-8") == '{"name": "größe"}'
    assert found.read_info() == INFO
    assert found.read_result() == fakerun.RUN
    assert [(one.number, one.read_result()) for one in found.rounds()] == [(1, fakerun.ROUND_1), (2, None)]
    assert found.rounds()[0].end_state("kill-one").read_bytes() == b"{}"
    assert found.rounds()[0].ansible.is_dir()
    assert found.rounds()[0].member("h1") == found.path / "rounds" / "001" / "members" / "h1"
    assert found.rounds()[0].history == found.path / "rounds" / "001" / "history.jsonl"


def test_a_run_that_was_killed_reads_as_far_as_it_got(tmp_path: Path) -> None:
    found = RunDirectory.open(create(tmp_path).path)
    assert (found.read_info(), found.read_result(), found.rounds()) == (None, None, ())


def test_more_than_a_thousand_rounds_stay_in_order(tmp_path: Path) -> None:
    made = create(tmp_path)
    for number in (1000, 999, 1):
        made.make_round(number)
    (made.path / "rounds" / "notes").mkdir()
    assert [one.number for one in made.rounds()] == [1, 999, 1000]


def test_only_marked_directories_of_a_known_format_are_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.open(tmp_path)
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.open(tmp_path / "missing")
    made = create(tmp_path)
    (made.path / MARKER).write_text('{"format": 99}')
    with pytest.raises(UsageError, match=r"format 99, this version reads 1"):
        RunDirectory.open(made.path)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    made = create(tmp_path)
    (made.path / "result.json").write_text('{"scenario": "quick", "seed": "x"}')
    with pytest.raises(UsageError, match=r"result\.json: damaged: .*seed"):
        made.read_result()


def test_something_else_called_latest_stays(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    create(tmp_path)
    assert not (tmp_path / "latest").is_symlink()


def test_a_full_disk_is_named_and_the_old_file_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(tmp_path)
    made.write_info(INFO)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InfrastructureError, match=r"run\.json: cannot be written: No space") as caught:
            made.write_info(RunInfo("other", 1, 1, "0", "0", ()))
    assert "Free some space" in (caught.value.remedy or "")
    assert str(made.path) in (caught.value.remedy or "")
    assert made.read_info() == INFO
    assert sorted(path.name for path in made.path.iterdir()) == [MARKER, "run.json"]


def test_a_base_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        create(tmp_path / "runs")
