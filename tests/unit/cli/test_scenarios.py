from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tester.cli.entry import run_command

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent


def test_list_shows_the_built_in_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["scenarios", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert names == sorted(names)
    assert {"composed", "network", "process", "quick", "quorum", "random"} <= set(names)
    assert "5 cases" in lines[names.index("quick")]


def test_show_gives_the_text_or_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["scenarios", "show", "quick"]) == 0
    assert capsys.readouterr().out == (HERE.parents[2] / "scenarios" / "quick.yml").read_text()
    assert run_command(["scenarios", "show", "--resolved", "quick"]) == 0
    assert json.loads(capsys.readouterr().out)["limits"]["recovery"] == 20


def test_validate_goes_through_all_files(capsys: pytest.CaptureFixture[str]) -> None:
    bad = HERE.parent / "scenario" / "bad.yml"
    assert run_command(["scenarios", "validate", "quick", str(bad), "quorum", "nothing"]) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    lines = captured.err.splitlines()
    assert len(lines) == 19
    assert all(line.startswith(f"{bad}:") for line in lines[:-1])


def test_validate_needs_a_file() -> None:
    assert run_command(["scenarios", "validate"]) == 2


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["scenarios", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "etcd-chaos scenario"
