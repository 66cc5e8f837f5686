from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import CHECKERS
from tester.cli.entry import run_command
from tester.errors import ExitCode
from tester.history.endstate import EndState, MemberEnd
from tester.history.records import (
    FORMAT_VERSION,
    Header,
    HistoryRecord,
    Invoke,
    KeyValue,
    Ok,
    Put,
    Range,
    RangeResult,
)
from tester.rundir import RunDirectory

if TYPE_CHECKING:
    from pathlib import Path

RECORDS: tuple[HistoryRecord, ...] = (
    Header(
        version=FORMAT_VERSION,
        run="r",
        round=1,
        scenario="s",
        seed=1,
        started_realtime_ns=0,
        prefix="/p/",
        members=("h1", "h2", "h3"),
    ),
    Invoke(id=1, at=10, c=0, m="h1", op=Put(k="/p/a", v="1:4")),
    Ok(id=1, at=20, rev=2),
)


def member(hash_: int) -> MemberEnd:
    content = (KeyValue("/p/a", "1:4", 2, 2, 1),)
    return MemberEnd(
        revision=2, applied_index=5, raft_term=2, hash=hash_, hash_revision=2, content=content, exits=()
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = RunDirectory.create(tmp_path, "s", 1)
    history = directory.make_round(1).history
    history.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in RECORDS))
    return directory.path


def save(run: Path, case: str, at: int, *hashes: int) -> None:
    members = {f"h{number}": member(value) for number, value in enumerate(hashes, 1)}
    EndState(at=at, members=members).save(run / "rounds" / "001" / f"end-state-{case}.json")


def test_a_run_is_judged_case_by_case(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(run, "later", 200, 7, 7, 7)
    save(run, "a-first", 100, 7, 7, 7)
    assert run_command(["check", str(run), "--checker", "kv-hash"]) == ExitCode.VALID
    heads = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [head.rsplit(", ", 1)[1] for head in heads] == ["case a-first", "case later"]


@pytest.mark.parametrize("within", [".", "rounds/001", "rounds/001/history.jsonl"])
def test_a_run_is_judged_by_the_checkers_of_its_scenario(
    run: Path, capsys: pytest.CaptureFixture[str], within: str
) -> None:
    save(run, "round", 100, 7, 7, 7)
    RunDirectory.open(run).write_scenario("", '{"checkers": ["recovery", "kv-hash"]}')
    run_command(["check", "--json", str(run / within)])
    (line,) = capsys.readouterr().out.splitlines()
    assert [result["checker"] for result in json.loads(line)["results"]] == ["kv-hash", "recovery"]


def test_a_damaged_scenario_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(run, "round", 100, 7, 7, 7)
    RunDirectory.open(run).write_scenario("", "{")
    assert run_command(["check", str(run)]) == ExitCode.USAGE
    assert "scenario.resolved.json" in capsys.readouterr().err


def test_a_bent_member_is_exit_code_1(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(run, "good", 100, 7, 7, 7)
    save(run, "bad", 200, 7, 7, 8)
    assert run_command(["check", str(run), "-c", "kv-hash", "--json"]) == ExitCode.INVALID
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["case"], line["results"][0]["verdict"]) for line in lines] == [
        ("good", "valid"),
        ("bad", "invalid"),
    ]


def test_a_bare_history_lacks_evidence(run: Path, tmp_path: Path) -> None:
    history = tmp_path / "elsewhere.jsonl"
    history.write_bytes((run / "rounds" / "001" / "history.jsonl").read_bytes())
    assert run_command(["check", str(history), "-c", "durability"]) == ExitCode.INFRASTRUCTURE


def test_a_round_is_judged_too(run: Path) -> None:
    save(run, "a", 100, 7, 7, 7)
    assert run_command(["check", str(run / "rounds" / "001"), "-c", "kv-hash"]) == ExitCode.VALID


def test_a_folder_without_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", str(tmp_path)]) == ExitCode.USAGE
    assert "there is no history" in capsys.readouterr().err


def test_a_bare_history_is_judged_by_what_it_has_evidence_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "elsewhere.jsonl"
    read = Invoke(id=2, at=30, c=0, m="h1", op=Range(k="/p/a"))
    answer = RangeResult(kv=(KeyValue("/p/a", "1:4", 2, 2, 1),), count=1)
    history.write_bytes(
        b"".join(
            msgspec.json.encode(record) + b"\n"
            for record in (*RECORDS, read, Ok(id=2, at=40, rev=2, out=answer))
        )
    )
    assert run_command(["check", str(history)]) == ExitCode.VALID
    told = capsys.readouterr().out
    assert "linearizable valid" in told
    assert "nothing to judge for kv-hash, durability, recovery, exits" in told
    assert run_command(["check", str(history), "--json"]) == ExitCode.VALID
    judged = json.loads(capsys.readouterr().out)
    assert [one["checker"] for one in judged["results"]] == ["linearizable"]
    assert len(judged["left_out"]) == len(CHECKERS) - 1
    # who is named has to judge
    assert run_command(["check", str(history), "-c", "watch"]) == ExitCode.INFRASTRUCTURE
    # and what is wrong is found without being asked for
    bent = history.read_bytes().replace(b'"rev":2', b'"rev":3', 1)
    history.write_bytes(bent)
    assert run_command(["check", str(history)]) == ExitCode.INVALID


def test_a_bare_history_without_any_evidence_is_unknown(run: Path, tmp_path: Path) -> None:
    history = tmp_path / "elsewhere.jsonl"
    history.write_bytes(msgspec.json.encode(RECORDS[0]) + b"\n")
    assert run_command(["check", str(history)]) == ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize("command", [["check"], ["history", "show"]])
def test_a_history_that_contradicts_itself_is_bad_input(
    run: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    history = run / "rounds" / "001" / "history.jsonl"
    history.write_bytes(history.read_bytes() + msgspec.json.encode(Ok(id=9, at=50, rev=3)) + b"\n")
    assert run_command([*command, str(history)]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert f"{history}: operation 9 ends" in told
    assert "docs/history.md" in told


def test_a_damaged_end_state_is_bad_input(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "rounds" / "001" / "end-state-round.json").write_text("{")
    assert run_command(["check", str(run)]) == ExitCode.USAGE
    assert "end-state-round.json" in capsys.readouterr().err


def test_a_damaged_history_names_the_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = run / "rounds" / "001" / "history.jsonl"
    history.write_bytes(history.read_bytes() + b'{"t":"nonsense"}\n')
    assert run_command(["check", str(run)]) == ExitCode.USAGE
    assert f"{history}:4: " in capsys.readouterr().err


def test_an_unknown_checker(run: Path) -> None:
    assert run_command(["check", str(run), "-c", "nonsense"]) == ExitCode.USAGE
