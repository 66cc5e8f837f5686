from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import run_checkers
from tester.cli.entry import run_command
from tester.errors import ExitCode
from tester.history.endstate import EndState
from tester.history.loading import load_history
from tester.history.records import Delete, DeleteResult, Invoke, Ok, Put
from tester.results import Verdict
from tests.unit.checkers.story import Story
from tests.unit.checkers.world import Mix, simulate
from tests.unit.history.registers import simulate as simulate_registers
from tests.unit.history.registers import to_edn
from tests.unit.history.registerworld import register_history

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tester.history.records import HistoryRecord

NEVER = EndState(2**62, {})


def save(path: Path, records: Iterable[HistoryRecord]) -> Path:
    path.write_bytes(msgspec.json.Encoder().encode_lines(list(records)))
    return path


def convert(source: Path, target: Path, *options: str) -> Path:
    assert run_command(["history", "convert", str(source), str(target), *options]) == ExitCode.VALID
    return target


def test_a_malformed_history_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"t":"nonsense"}\n')
    for command in (["show", str(source)], ["convert", str(source), str(tmp_path / "b.edn")]):
        assert run_command(["history", *command]) == ExitCode.USAGE
        assert f"{source}:1: " in capsys.readouterr().err


def test_there_and_back_through_parquet_nothing_changes(tmp_path: Path) -> None:
    source = save(tmp_path / "a.jsonl", simulate(Random(1), Mix(operations=80, unknown=0.2)).records)
    parquet = convert(source, tmp_path / "b.parquet")
    assert convert(parquet, tmp_path / "c.jsonl").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("seed", range(20))
def test_jepsens_registers_come_back_as_they_were(tmp_path: Path, seed: int) -> None:
    (tmp_path / "a.edn").write_text(to_edn(simulate_registers(Random(seed), 12, keys=2), keyed=True))
    ours = convert(tmp_path / "a.edn", tmp_path / "b.jsonl")
    again = convert(convert(ours, tmp_path / "c.edn"), tmp_path / "d.jsonl")
    before, after = (run_checkers(["linearizable"], load_history(path), NEVER)[0] for path in (ours, again))
    assert before.verdict is Verdict.VALID
    assert before.message == after.message


@pytest.mark.parametrize("seed", range(30))
def test_what_is_right_by_revisions_is_right_as_registers(tmp_path: Path, seed: int) -> None:
    source = save(tmp_path / "a.jsonl", register_history(Random(seed)))
    edn = convert(source, tmp_path / "b.edn")
    for path in (source, edn):
        (result,) = run_checkers(["linearizable"], load_history(path), NEVER)
        assert result.verdict is Verdict.VALID, result


def test_a_lost_write_is_lost_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.edn").write_text(
        "{:type :invoke :f :write :value 3 :process 0}\n{:type :ok :f :write :value 3 :process 0}\n"
        "{:type :invoke :f :read :value nil :process 1}\n{:type :ok :f :read :value nil :process 1}\n"
    )
    for target in ("b.jsonl", "c.parquet", "d.edn"):
        path = convert(tmp_path / "a.edn", tmp_path / target)
        assert run_command(["check", str(path), "--checker", "linearizable"]) == ExitCode.INVALID
        assert "its value could only be 3" in capsys.readouterr().out


def test_porcupine_gets_each_operation_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.info(Put("ka", "2:4"))
    story.fail(Put("ka", "3:4"))
    story.put("kb", "4:4", 3, lease=7)
    path = convert(save(tmp_path / "a.jsonl", story.records), tmp_path / "b.jsonl", "--to", "porcupine")
    sure, unknown = (json.loads(line) for line in path.read_text().splitlines())
    assert sure["Input"] == {"Op": "write", "Key": "ka", "Value": "1:4", "Old": None}
    assert sure["Call"] < sure["Return"] < unknown["Return"]
    assert (sure["Output"]["Unknown"], unknown["Output"]["Unknown"]) == (False, True)
    assert "left out: 1: put with a lease" in capsys.readouterr().err


def test_a_key_that_is_no_register_is_left_out_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.put("kz", "2:4", 3)
    story.records += [Invoke(9, 1, 1, "m1", Delete("ka", "kb")), Ok(9, 2, 4, 1, DeleteResult(1))]
    path = convert(save(tmp_path / "a.jsonl", story.records), tmp_path / "b.edn")
    assert '"kz"' in path.read_text()
    assert '"ka"' not in path.read_text()
    told = capsys.readouterr().err
    assert "left out: 1: deletion of a range" in told
    assert "left out: 1: its key was written" in told


def test_what_a_history_holds_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.put("ka", "1:4", 2)
    story.info(Put("ka", "2:4"))
    story.invoke(Put("ka", "3:4"))
    path = save(tmp_path / "a.jsonl", story.records)
    assert run_command(["history", "show", str(path), "--json"]) == ExitCode.VALID
    shown = json.loads(capsys.readouterr().out)
    assert shown["operations"] == {"put": {"ok": 1, "info": 1, "open": 1}}
    assert run_command(["history", "show", str(path)]) == ExitCode.VALID
    assert "revisions 2 to 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.jsonl", "b.txt"], "which format"),
        (["a.jsonl", "a.jsonl"], "exists"),
        (["bad.edn", "b.jsonl"], "operation"),
        (["torn.edn", "b.jsonl"], "not EDN"),
        (["deep.edn", "b.jsonl"], "not EDN"),
        (["answer.jsonl", "b.edn"], "was not invoked"),
        (["answer.jsonl", "b.parquet"], "was not invoked"),
        ([".", "b.jsonl"], "is a directory"),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "bad.edn").write_text("[1 2]")
    (tmp_path / "torn.edn").write_text("{:type :invoke")
    (tmp_path / "deep.edn").write_text("[" * 100_000)
    save(tmp_path / "answer.jsonl", [Ok(1, 1, 2)])
    before = sorted(tmp_path.iterdir())
    assert (
        run_command(["history", "convert", *(str(tmp_path / name) for name in arguments)]) != ExitCode.VALID
    )
    assert told in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
