"""Files that cannot be read or written, or are no histories: the caller's mistake, told as one."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import msgspec
import pytest

from tester.cli.entry import run_command
from tester.errors import ExitCode
from tester.history import parts
from tester.history.records import Header, Invoke, Ok, Put
from tester.rundir import RunDirectory

HEADER = Header(2, "run", 1, "s", 7, 0, "k", ("m1",))
LINES = msgspec.json.Encoder().encode_lines([HEADER, Invoke(1, 1, 1, "m1", Put("k", "1:4")), Ok(1, 2, 2)])
TORN = b'{"t":"invoke","id":2'


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.jsonl"
    path.write_bytes(LINES)
    return path


def refused(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    assert run_command([str(word) for word in command]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "remedy: " in told
    assert "defect" not in told
    return told


def test_what_can_be_read_and_written_is(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["check", good],
        ["history", "show", good],
        ["history", "convert", good, tmp_path / "b.jsonl"],
    ):
        assert run_command([str(word) for word in command]) == ExitCode.VALID
    assert capsys.readouterr().err == ""
    assert (tmp_path / "b.jsonl").read_bytes() == LINES


@pytest.mark.parametrize(
    "target",
    ["nowhere/x.jsonl", "good.jsonl/x.jsonl", "good.jsonl/x.parquet", f"{'x' * 300}.edn", "nowhere/x.edn"],
)
def test_a_target_that_cannot_be_written_is_named(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    told = refused(capsys, "history", "convert", good, tmp_path / target)
    assert f"error: {tmp_path / target}" in told
    assert "cannot be written: " in told
    assert list(tmp_path.iterdir()) == [good]


def test_parquet_where_no_directory_can_be_made(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be written: " in refused(capsys, "history", "convert", good, "/proc/x.parquet")


@pytest.mark.parametrize("failing", ["open", "is_file"])
def test_a_source_that_cannot_be_read_is_named(
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """Root reads anything: what others are told comes from the calls that would be refused to them."""
    before = getattr(Path, failing)

    def denied(path: Path, *arguments: object, **named: object) -> object:
        if good in (path, path.parent):
            raise PermissionError(13, os.strerror(13), str(path))
        return before(path, *arguments, **named)

    monkeypatch.setattr(Path, failing, denied)
    for command in (
        ["check", good],
        ["history", "show", good],
        ["history", "convert", good, tmp_path / "b.jsonl"],
    ):
        told = refused(capsys, *command)
        assert f"error: {good}" in told
        assert "cannot be read: Permission denied" in told


NO_HISTORIES = {
    "packed.jsonl": (gzip.compress(LINES), "compressed by gzip"),
    "packed.jsonl.gz": (gzip.compress(LINES), "compressed by gzip"),
    "packed.jsonl.zst": (b"\x28\xb5\x2f\xfd\x04\x00A\n", "compressed by zstd"),
    "operations.parquet": (b"PAR1\x15\n", "one file of a history in Parquet"),
    "a.parquet": (b"", "holds no record"),
    "empty.jsonl": (b"", "holds no record"),
    "empty.edn": (b"", "holds no record"),
    "hello.txt": (b"hello", "holds no record"),
    "long.jsonl": (b"x" * 200_000, "holds no record"),
    "bom.jsonl": (b"\xef\xbb\xbf" + LINES, "byte order mark"),
    "wide.jsonl": (LINES.decode().encode("utf-16"), "UTF-16"),
}


@pytest.mark.parametrize("name", NO_HISTORIES)
def test_a_file_that_is_no_history_is_told_for_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content, told = NO_HISTORIES[name]
    path = tmp_path / name
    path.write_bytes(content)
    for command in (
        ["check", path],
        ["history", "show", path],
        ["history", "convert", path, tmp_path / "b.jsonl"],
    ):
        assert told in refused(capsys, *command)
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/dev/null is no file" in refused(capsys, "history", "show", "/dev/null")
    assert "/dev/null" in refused(capsys, "check", "/dev/null")


@pytest.mark.parametrize("torn", [TORN, b"x" * 200_000])
def test_a_torn_end_is_told_and_no_mistake(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], torn: bytes
) -> None:
    good.write_bytes(LINES + torn)
    for command in (
        ["check", good],
        ["history", "show", good],
        ["history", "convert", good, tmp_path / "b.jsonl"],
    ):
        assert run_command([str(word) for word in command]) == ExitCode.VALID
        note = f"note: {good}: the last {len(torn)} bytes, which no newline ends, are left out\n"
        assert capsys.readouterr().err == note


def test_the_parts_of_a_run_that_goes_on_are_looked_at_too(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = parts.part_of(good, 1)
    part.write_bytes(TORN)
    assert run_command(["check", str(good)]) == ExitCode.VALID
    assert f"{part}: the last {len(TORN)} bytes" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", TORN])
def test_a_round_that_has_just_begun_hides_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    run = RunDirectory.create(tmp_path, "s", 1)
    run.make_round(1).history.write_bytes(LINES)
    run.make_round(2).history.write_bytes(content)
    assert run_command(["check", str(run.path), "-c", "linearizable", "--json"]) == ExitCode.INFRASTRUCTURE
    judged = [json.loads(line)["results"][0]["verdict"] for line in capsys.readouterr().out.splitlines()]
    assert judged == ["valid", "unknown"]


def test_a_header_in_the_middle_is_told_with_its_line(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good.write_bytes(LINES + LINES)
    for command in (
        ["check", good],
        ["history", "show", good],
        ["history", "convert", good, tmp_path / "b.jsonl"],
    ):
        assert f"{good}: line 4 is a header: the header comes once, first" in refused(capsys, *command)
    assert list(tmp_path.iterdir()) == [good]


def test_a_history_without_a_header_is_of_no_run(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["history", "show", str(good)]) == ExitCode.VALID
    assert "run       run, round 1, scenario s\n" in capsys.readouterr().out
    good.write_bytes(LINES.split(b"\n", 1)[1])
    assert run_command(["history", "show", str(good)]) == ExitCode.VALID
    assert "run       unknown: there is no header\n" in capsys.readouterr().out
    assert run_command(["check", str(good)]) == ExitCode.VALID
