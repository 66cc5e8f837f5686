"""Histories by path, in whichever form they are kept."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from tester.errors import UsageError
from tester.history.history import History
from tester.history.jepsen import read_jepsen
from tester.history.mismatch import misplaced_header
from tester.history.parquet import is_parquet, read_parquet
from tester.history.parts import PartsReader, files_of
from tester.history.records import Header
from tester.history.soundness import refuse_impossible
from tester.history.together import read_together, readers_for
from tester.history.unparquet import parquet_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tester.history.records import HistoryRecord


def load_history(path: Path) -> History:
    """All operations of a JSONL file, a Parquet directory or an EDN file of Jepsen's, joined.

    Raises:
        HistoryFormatError: a line other than a torn last one is no record.
        HistoryMismatchError: records contradict each other, or say what no etcd says.
        ParquetError: a directory is no history of this version.
        UsageError: a directory holds no history, or Parquet needs pyarrow.
        OSError: the file cannot be read.
    """
    history = _load(path)
    refuse_impossible(history)
    return history


def records_of(path: Path) -> Iterator[HistoryRecord]:
    """The records of any of them, one by one. Raises as ``load_history``, but what no etcd says is not looked for."""
    if is_parquet(path):
        return _header_first(parquet_records(path))
    _refuse_directory(path)
    if path.suffix == ".edn":
        return read_jepsen(path)
    return _header_first(chain.from_iterable(PartsReader(path).batches()))


def _load(path: Path) -> History:
    if is_parquet(path):
        return read_parquet(path)
    _refuse_directory(path)
    if path.suffix == ".edn":
        return History(read_jepsen(path))
    if (
        files_of(path) == (path,)
        and (readers := readers_for(path)) > 1
        and (history := read_together(path, readers))
    ):
        return history
    history = History()
    for batch in PartsReader(path).batches():
        history.extend(batch)
    return history


def _header_first(records: Iterable[HistoryRecord]) -> Iterator[HistoryRecord]:
    for line, record in enumerate(records, 1):
        if type(record) is Header and line > 1:
            raise misplaced_header(line)
        yield record


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise UsageError(
            f"{path} is a directory, and no history in Parquet",
            remedy="name one of its files, such as rounds/001/history.jsonl of a run",
        )
