"""``etcd-chaos history``."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from tester.cli.torn import tell_torn
from tester.errors import UsageError
from tester.history.damage import as_bad_input, as_bad_target
from tester.history.exports import jepsen_lines, porcupine_lines
from tester.history.loading import records_of
from tester.history.named import refuse_other_files
from tester.history.parquet import write_parquet
from tester.history.registers import as_registers
from tester.history.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tester.history.records import HistoryRecord

_BY_SUFFIX = {".jsonl": "jsonl", ".parquet": "parquet", ".edn": "jepsen"}
_FORMATS = ("jsonl", "parquet", "jepsen", "porcupine")
_HISTORY = click.Path(exists=True, path_type=Path)


@click.group()
def history() -> None:
    """Look at saved histories, and convert them from and to other formats. Contacts nobody."""


@history.command()
@click.argument("source", type=_HISTORY)
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--to", type=click.Choice(_FORMATS), help="Default: by the ending of TARGET (.jsonl, .parquet, .edn)."
)
def convert(*, source: Path, target: Path, to: str | None) -> None:
    """Convert a history; the form of SOURCE is found out (.edn: Jepsen's registers).

    Parquet holds everything. Jepsen and porcupine judge registers: what they cannot express is left out, and
    said.
    """
    form = to or _BY_SUFFIX.get(target.suffix)
    if form is None:
        raise UsageError(f"{target}: which format?", remedy=f"--to {'|'.join(_FORMATS)}")
    with as_bad_target(target):
        if target.exists():
            raise UsageError(f"{target} exists", remedy="name another, or remove it")
    with as_bad_input(source):
        refuse_other_files(source)
    tell_torn(source)
    with as_bad_input(source), as_bad_target(target):
        _convert(source, target, form)


def _records(source: Path) -> Iterator[HistoryRecord]:
    """Those of ``source``; a failure to read it is told from one to write, which goes on beside it."""
    with as_bad_input(source):
        yield from records_of(source)


def _convert(source: Path, target: Path, form: str) -> None:
    if form == "parquet":
        write_parquet(_records(source), target)
    elif form == "jsonl":
        encode = msgspec.json.Encoder().encode
        _write_lines(target, (encode(record) for record in _records(source)))
    else:
        registers = as_registers(_records(source))
        if form == "jepsen":
            _write_lines(target, (line.encode() for line in jepsen_lines(_records(source), registers)))
        else:
            _write_lines(target, porcupine_lines(_records(source), registers))
        click.echo(f"{len(registers.operations)} operations on registers", err=True)
        for reason, number in registers.left_out.most_common():
            click.echo(f"left out: {number}: {reason}", err=True)


@history.command()
@click.argument("path", type=_HISTORY)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(*, path: Path, as_json: bool) -> None:
    """What a history holds: operations by kind, outcome and member, watches, faults, and the time they span."""
    with as_bad_input(path):
        refuse_other_files(path)
        tell_torn(path)
        summary = summarize(records_of(path))
    click.echo(msgspec.json.encode(summary) if as_json else summary.text())


def _write_lines(target: Path, lines: Iterable[bytes]) -> None:
    with _whole(target) as file:
        for line in lines:
            file.write(line + b"\n")


@contextmanager
def _whole(target: Path) -> Iterator[BinaryIO]:
    """A file that is there when it is whole, and not before."""
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
