from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent_client.errors import AgentUnreachableError
from tester.cli import entry
from tester.cli.entry import run_command
from tester.cli.group import COMMANDS
from tester.errors import (
    ExitCode,
    FaultIneffectiveError,
    HealError,
    InfrastructureError,
    Interrupted,
    UsageError,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command line whose command raises what is put here."""
    errors: list[BaseException] = []

    @click.command()
    def etcd_chaos() -> None:
        raise errors[0]

    monkeypatch.setattr(entry, "etcd_chaos", etcd_chaos)
    return errors


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("what\nwhere", remedy="do this"), 2, "error: what\n       where\nremedy: do this\n"),
        (InfrastructureError("host h1 is away"), 3, "error: host h1 is away\n"),
        (FaultIneffectiveError("no effect"), 3, "error: no effect\n"),
        (HealError("host h1: left", remedy="heal"), 4, "error: host h1: left\nremedy: heal\n"),
        (Interrupted("stopped"), 130, "error: stopped\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (AgentUnreachableError("no answer", remedy="look"), 3, "error: no answer\nremedy: look\n"),
        (InfrastructureError(""), 3, "error: \n"),
    ],
)
def test_errors_become_one_block_and_a_code(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    told: str,
) -> None:
    failing.append(error)
    assert run_command([]) == code
    captured = capsys.readouterr()
    assert captured.err.strip() == told.strip()
    assert captured.out.strip() == ""


def test_a_defect_is_told_briefly_and_kept_whole(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing.append(KeyError("surprise"))
    assert run_command([]) == ExitCode.INFRASTRUCTURE
    told = capsys.readouterr().err
    assert "a defect of etcd-chaos" in told
    assert "KeyError: 'surprise'" in told
    assert "Traceback" not in told
    (kept,) = tmp_path.iterdir()
    assert str(kept) in told
    assert "Traceback" in kept.read_text()


def test_every_command_loads_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert run_command([name, "--help"]) == 0
        assert f"Usage: etcd-chaos {name}" in capsys.readouterr().out


def test_help_names_every_command_and_the_exit_codes_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from tester.cli.entry import run_command; run_command(['--help']); "
        "print([m for m in ('grpc', 'numpy', 'ansible', 'ansible_runner', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("[]\n")
    for name in COMMANDS:
        assert f"\n  {name}" in done.stdout
    assert "130 interrupted" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["run"], ["run", "-i", "/nowhere"], ["run", "--seed", "-1"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == ExitCode.USAGE
    assert "Usage: etcd-chaos" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_defect_and_no_verdict() -> None:
    code = "import sys; from tester.cli.entry import main; sys.argv[1:] = ['scenarios', 'schema']; main()"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == ExitCode.INFRASTRUCTURE


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.startswith("etcd-chaos 0.")
    assert run_command(["version"]) == 0
    assert "ansible-core" in capsys.readouterr().out
