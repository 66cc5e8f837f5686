from __future__ import annotations

from pathlib import Path

import click
import pytest

from tester.cli.group import COMMANDS
from tester.cli.run import run
from tester.errors import ExitCode
from tester.scenario.actions import ACTIONS
from tester.scenario.faults import FAULTS
from tester.scenario.reference import generate
from tester.scenario.stressers import STRESSERS
from tester.scenario.target import TargetWord

DOCS = Path(__file__).parents[3] / "docs"


def test_the_generated_tables_are_current() -> None:
    text = (DOCS / "scenarios.md").read_text()
    assert generate(text) == text, "python -m tester.scenario.reference docs/scenarios.md"
    assert text.count("<!-- generated:") == len(STRESSERS) + 12
    assert text.count("| key | value | default | meaning |") == len(STRESSERS) + 12


@pytest.mark.parametrize("word", ["none", *FAULTS, *TargetWord, *STRESSERS])
def test_every_fault_target_and_stresser_is_described(word: str) -> None:
    assert f"\n| `{word}` | " in (DOCS / "scenarios.md").read_text()


@pytest.mark.parametrize("word", [*ACTIONS])
def test_every_action_is_described(word: str) -> None:
    rows = [line for line in (DOCS / "scenarios.md").read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{word}`" in row.split("|")[1] for row in rows)


def test_every_exit_code_is_described() -> None:
    rows = [line for line in (DOCS / "usage.md").read_text().splitlines() if line.startswith("| ")]
    assert [f"| {code.value} |" for code in ExitCode] == [
        row[: row.index("|", 2) + 1] for row in rows if row[2].isdigit()
    ]


def test_the_order_of_exit_codes_is_the_documented_one() -> None:
    order = [ExitCode(code) for code in (4, 1, 130, 3, 2, 0)]
    assert "in this order: 4, 1, 130, 3, 2, 0" in (DOCS / "usage.md").read_text()
    for better, worse in zip(order[1:], order, strict=False):
        assert ExitCode.worst(better, worse) is worse


def test_every_option_of_run_and_every_command_is_described() -> None:
    text = (DOCS / "usage.md").read_text()
    options = [name for option in run.params if isinstance(option, click.Option) for name in option.opts]
    assert [name for name in options if name.startswith("--") and f"| `{name}`" not in text] == []
    assert [name for name in COMMANDS if name != "version" and f"etcd-chaos {name}" not in text] == []
