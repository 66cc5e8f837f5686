"""A history in several files while a run goes on, and one when it is over.

::

    history.jsonl             the tester's own: header, frame, witnesses
    history.worker-1.jsonl    operations of the first load worker
    history.joined.jsonl      all of them in order of time, while the others are being taken away

Every file is in order of time by itself, and the clock is one. A tester that was killed leaves the parts: whoever
reads ``history.jsonl`` through here reads them, too.
"""

from __future__ import annotations

import heapq
import os
from itertools import chain, islice
from typing import TYPE_CHECKING

import msgspec

from tester.errors import LoadError
from tester.history.reader import HistoryReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tester.history.records import HistoryRecord

_BATCH = 8192


class _When(msgspec.Struct):
    """The one field that decides about the order; the header, which has none, comes first."""

    at: int = -1


def part_of(history: Path, worker: int) -> Path:
    """Where a worker writes."""
    return history.with_name(f"{history.stem}.worker-{worker}{history.suffix}")


def files_of(history: Path) -> tuple[Path, ...]:
    """The files that make up a history: one, unless it is being written or its tester was killed."""
    joined = _joined(history)
    if joined.exists():
        return (joined,)
    return (history, *_parts(history))


class PartsReader:
    """Follows a history that grows, as ``HistoryReader`` does, in all its files."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self._readers: dict[Path, HistoryReader] = {}

    def read_new(self) -> list[HistoryRecord]:
        """See ``HistoryReader.read_new``; in order of time, if nobody writes meanwhile."""
        return list(chain.from_iterable(self.batches()))

    def batches(self) -> Iterator[list[HistoryRecord]]:
        """See ``HistoryReader.batches``."""
        files = files_of(self._history)
        readers = [self._readers.setdefault(file, HistoryReader(file)) for file in files]
        if len(readers) == 1:
            yield from readers[0].batches()
            return
        merged = heapq.merge(*(chain.from_iterable(r.batches()) for r in readers), key=_record_at)
        while batch := list(islice(merged, _BATCH)):
            yield batch


def join_parts(history: Path) -> None:
    """Make one file of all of them; does nothing where there is one. Killed at any moment, it loses nothing.

    Raises:
        LoadError: the disk does not take it; the parts are whole.
    """
    try:
        _join(history)
    except OSError as error:
        raise LoadError(
            f"the parts of {history} cannot be joined: {error.strerror}",
            remedy="free space on the file system of the run directory; its files are whole",
        ) from error


def _join(history: Path) -> None:
    joined, parts = _joined(history), _parts(history)
    if not joined.exists():
        if not parts:
            return
        unfinished = joined.with_suffix(".new")
        with unfinished.open("wb") as target:
            target.writelines(_lines((history, *parts)))
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(joined)
    for part in parts:
        part.unlink()
    joined.replace(history)


def _lines(files: Iterable[Path]) -> Iterator[bytes]:
    decoder = msgspec.json.Decoder(_When)
    return heapq.merge(*map(_whole_lines, files), key=lambda line: decoder.decode(line).at)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """A torn last line, of a process that was killed, is left out as readers do."""
    with path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _record_at(record: HistoryRecord) -> int:
    return int(getattr(record, "at", -1))


def _parts(history: Path) -> tuple[Path, ...]:
    return tuple(sorted(history.parent.glob(f"{history.stem}.worker-*{history.suffix}")))


def _joined(history: Path) -> Path:
    return history.with_name(f"{history.stem}.joined{history.suffix}")
