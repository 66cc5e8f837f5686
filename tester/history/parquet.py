"""A history as a directory of Parquet files: the checkers' columns, a file per table (``docs/history.md``).

Reading it takes no loop over operations. Nothing is lost: what has no columns of its own is kept as lines of the
JSONL format, and every row knows which line it came from. Needs pyarrow (``etcd-chaos[parquet]``).
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tester.errors import HistoryError, UsageError
from tester.history.columns import TABLES
from tester.history.history import History
from tester.history.operations import is_plain
from tester.history.records import Fail, HistoryRecord, Info, Invoke, Ok, Watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tester.history.table import Columns, Interner

PARQUET_VERSION = 1

EXTRA: dict[str, tuple[str, ...]] = {"operations": ("term", "invoke_line", "line"), "responses": ("line",)}
"""Columns that no checker reads: what it takes to write the lines again."""

TEXTS = ("keys", "values", "members")
"""Files of texts by number."""

_LINES_TOGETHER = 1 << 16
"""Lines that are unpacked together, or passed over: those that the tables hold, too, come after all others."""

_VERSION_KEY = b"etcd-chaos.history"


class ParquetError(HistoryError):
    """A directory is no history of this version, or is damaged."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a directory holds."""

    history: History
    extra: dict[str, Columns]
    """By table, the columns of ``EXTRA``, shape ``(columns, rows)``."""
    lines: list[tuple[int, HistoryRecord]]
    """What has no columns, or not all it needs, with its line; ascending."""


def is_parquet(path: Path) -> bool:
    """Whether ``path`` is a history in this form."""
    return (path / "operations.parquet").is_file()


def read_parquet(path: Path) -> History:
    """The history in a directory.

    Raises:
        ParquetError: it is no history, of another version, or damaged.
        UsageError: pyarrow is not installed.
    """
    return load_parquet(path, every_column=False).history


def load_parquet(path: Path, *, every_column: bool) -> Stored:
    """Read a directory; ``extra`` and the lines of answered operations only with ``every_column``.

    Raises:
        ParquetError: it is no history, of another version, or damaged.
        UsageError: pyarrow is not installed.
    """
    history = History()
    extra = {}
    for name, table in history.tables.items():
        wanted = _names(name, every_column=every_column)
        numbers = _numbers(path, name, wanted)
        width = len(TABLES[name])
        table.extend(numbers[:width])
        extra[name] = numbers[width:]
    for name, interner in _interners(history).items():
        with _opened(path, name, ["text"]) as file:
            interner.fill(file.read(["text"], use_threads=False).column(0).to_pylist())
    lines = _lines(path, every_column=every_column)
    history.extend(record for _, in_tables, record in lines if not in_tables)
    return Stored(history, extra, [(line, record) for line, _, record in lines])


def write_parquet(records: Iterable[HistoryRecord], path: Path) -> None:
    """Write a history as a new directory ``path``.

    Raises:
        UsageError: it exists, or pyarrow is not installed.
        HistoryMismatchError: the records contradict each other.
    """
    _arrow()
    if path.exists():
        raise UsageError(f"{path} exists", remedy="name another, or remove it")
    source = _Source()
    history = History(source.noting(records))
    unfinished = path.with_name(path.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        _write_all(unfinished, history, source)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_all(directory: Path, history: History, source: _Source) -> None:
    noted = {"operations": source.operations, "responses": source.responses}
    for name, table in history.tables.items():
        rows = np.array(noted.get(name, ()), dtype=np.int64).reshape(len(table), len(EXTRA.get(name, ())))
        numbers = [*table.columns, *rows.T]
        _write(directory, name, dict(zip(_names(name, every_column=True), numbers, strict=True)))
    for name, interner in _interners(history).items():
        _write(directory, name, {"number": np.arange(len(interner)), "text": interner.texts})
    _write(directory, "lines", source.lines())


class _Source:
    """Looks at records on their way into a history, and keeps what its columns do not."""

    def __init__(self) -> None:
        self.operations: list[int] = []
        """Term, line of the question, line of the answer: row by row."""
        self.responses: list[int] = []
        self._lines: list[tuple[int, bool, HistoryRecord]] = []
        self._open: dict[int, tuple[int, Invoke]] = {}

    def noting(self, records: Iterable[HistoryRecord]) -> Iterable[HistoryRecord]:
        """The same records."""
        for line, record in enumerate(records, 1):
            self._note(line, record)
            yield record

    def _note(self, line: int, record: HistoryRecord) -> None:
        if isinstance(record, Invoke):
            self._open[record.id] = (line, record)
        elif isinstance(record, Ok):
            asked_at, invoke = self._open.pop(record.id, (0, None))
            self.operations += (record.term, asked_at, line)
            if invoke is not None and not is_plain(invoke.op, record.out):
                self._lines += ((asked_at, True, invoke), (line, True, record))
        elif isinstance(record, Watched):
            self.responses.append(line)
        else:
            if isinstance(record, Info | Fail) and record.id in self._open:
                asked_at, invoke = self._open.pop(record.id)
                self._lines.append((asked_at, False, invoke))
            self._lines.append((line, False, record))

    def lines(self) -> dict[str, Sequence[int | bool | str]]:
        """The table ``lines``; to be asked for when all records have gone by."""
        opened = [(line, False, invoke) for line, invoke in self._open.values()]
        lines = sorted([*self._lines, *opened], key=itemgetter(1, 0))
        return {
            "line": [line for line, _, _ in lines],
            "in_tables": [in_tables for _, in_tables, _ in lines],
            "json": [msgspec.json.encode(record).decode() for _, _, record in lines],
        }


def _lines(path: Path, *, every_column: bool) -> list[tuple[int, bool, HistoryRecord]]:
    decoder: msgspec.json.Decoder[HistoryRecord] = msgspec.json.Decoder(HistoryRecord)
    names = ["line", "in_tables", "json"]
    found: list[tuple[int, bool, HistoryRecord]] = []
    with _opened(path, "lines", names) as file:
        for group in range(file.num_row_groups):
            (flags,) = file.read_row_group(group, ["in_tables"], use_threads=False).columns
            if not every_column and all(flags.to_pylist()):
                continue
            columns = [c.to_pylist() for c in file.read_row_group(group, names, use_threads=False).columns]
            try:
                found += [
                    (line, in_tables, decoder.decode(text))
                    for line, in_tables, text in zip(*columns, strict=True)
                    if every_column or not in_tables
                ]
            except msgspec.MsgspecError as error:
                raise ParquetError(
                    f"{path / 'lines.parquet'}: {error}", remedy="convert the history again"
                ) from error
    return sorted(found, key=itemgetter(0))


def _interners(history: History) -> dict[str, Interner]:
    return dict(zip(TEXTS, (history.keys, history.values, history.members), strict=True))


def _names(table: str, *, every_column: bool) -> list[str]:
    return [column.name.lower() for column in TABLES[table]] + [
        name for name in EXTRA.get(table, ()) if every_column
    ]


def _arrow() -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra: everything else works without it
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed", remedy="pip install 'etcd-chaos[parquet]'"
        ) from error
    return pa


@contextmanager
def _opened(path: Path, name: str, columns: Sequence[str]) -> Iterator[Any]:
    """One of the files, which has these columns."""
    place, arrow = path / f"{name}.parquet", _arrow()
    try:
        with arrow.parquet.ParquetFile(place) as file:
            found = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, b"none").decode()
            if found != str(PARQUET_VERSION):
                raise ParquetError(
                    f"{place}: version {found} of the format, this etcd-chaos reads {PARQUET_VERSION}"
                )
            if missing := set(columns) - set(file.schema_arrow.names):
                raise ParquetError(f"{place}: there is no column {', '.join(sorted(missing))}")
            yield file
    except (OSError, arrow.ArrowException) as error:
        raise ParquetError(f"{place}: {error}", remedy="convert the history again") from error


def _numbers(path: Path, name: str, wanted: Sequence[str]) -> Columns:
    with _opened(path, name, wanted) as file:
        numbers = np.empty((len(wanted), file.metadata.num_rows), dtype=np.int64)
        # One by one they fit in memory that arrow has already: new memory costs more than the reading.
        for row, column in zip(numbers, wanted, strict=True):
            place = 0
            for chunk in file.read([column], use_threads=False).column(0).chunks:
                row[place : place + len(chunk)] = chunk.to_numpy()
                place += len(chunk)
    return numbers


def _write(directory: Path, name: str, columns: dict[str, Any]) -> None:
    arrow = _arrow()
    types = {"text": arrow.string(), "json": arrow.string(), "in_tables": arrow.bool_()}
    arrays = {key: arrow.array(values, types.get(key, arrow.int64())) for key, values in columns.items()}
    table = arrow.table(arrays).replace_schema_metadata({_VERSION_KEY: str(PARQUET_VERSION)})
    # Differences of neighbours are small in nearly all columns: a fifth of the size, and read twice as fast.
    deltas = {key: "DELTA_BINARY_PACKED" for key in columns if key not in types}
    arrow.parquet.write_table(
        table,
        directory / f"{name}.parquet",
        row_group_size=_LINES_TOGETHER if name == "lines" else None,
        compression="zstd",
        use_dictionary=False,
        column_encoding=deltas,
    )
