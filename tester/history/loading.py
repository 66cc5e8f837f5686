"""Histories by path, in whichever form they are kept."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from tester.errors import UsageError
from tester.history.history import History
from tester.history.jepsen import read_jepsen
from tester.history.parquet import is_parquet, read_parquet
from tester.history.parts import PartsReader, files_of
from tester.history.together import read_together, readers_for
from tester.history.unparquet import parquet_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tester.history.records import HistoryRecord


def load_history(path: Path) -> History:
    """All operations of a JSONL file, a Parquet directory or an EDN file of Jepsen's, joined.

    Raises:
        HistoryFormatError: a line other than a torn last one is no record.
        HistoryMismatchError: records contradict each other.
        ParquetError: a directory is no history of this version.
        UsageError: a directory holds no history, or Parquet needs pyarrow.
        OSError: the file cannot be read.
    """
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


def records_of(path: Path) -> Iterator[HistoryRecord]:
    """The records of any of them, one by one. Raises as ``load_history``."""
    if is_parquet(path):
        return parquet_records(path)
    _refuse_directory(path)
    return read_jepsen(path) if path.suffix == ".edn" else chain.from_iterable(PartsReader(path).batches())


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise UsageError(
            f"{path} is a directory, and no history in Parquet",
            remedy="name one of its files, such as rounds/001/history.jsonl of a run",
        )
