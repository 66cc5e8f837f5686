"""The history read back, whole or while it grows."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tester.errors import HistoryError
from tester.history.records import HistoryRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK_BYTES = 1 << 17
_NEWLINE = ord("\n")


class HistoryFormatError(HistoryError):
    """A line of a history is no record of this format version."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}", remedy="docs/history.md describes the format")
        self.path = path
        self.line = line


class HistoryReader:
    """Follows a history file as it grows.

    A last line without its newline is still being written, or was torn when the writer was killed: it is left
    for the next call.
    """

    def __init__(self, path: Path, start: int = 0, end: int | None = None) -> None:
        """Of a whole file, or of the lines between two offsets."""
        self.path = path
        self._decoder: msgspec.json.Decoder[HistoryRecord] = msgspec.json.Decoder(HistoryRecord)
        self._offset = start
        self._end = end
        self._line = 0

    def read_new(self) -> list[HistoryRecord]:
        """All whole records since the last call.

        Raises:
            HistoryFormatError: a whole line is no record.
            OSError: the file cannot be read.
        """
        return list(chain.from_iterable(self.batches()))

    def batches(self) -> Iterator[list[HistoryRecord]]:
        """The same, some thousand at a time and in constant memory. Read it to its end, or start anew.

        Raises:
            HistoryFormatError: a whole line is no record.
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self._offset)
            rest = b""
            while chunk := file.read(self._left(file.tell())):
                lines = rest + chunk
                whole = lines.rfind(b"\n") + 1
                rest = lines[whole:]
                if whole:
                    records = self._decode(lines[:whole])
                    self._offset += whole
                    self._line += len(records)
                    yield records

    def _left(self, offset: int) -> int:
        return _CHUNK_BYTES if self._end is None else min(_CHUNK_BYTES, self._end - offset)

    def _decode(self, lines: bytes) -> list[HistoryRecord]:
        try:
            records = self._decoder.decode_lines(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            records = []
        # bytes.count looks at each byte by itself, which takes a twentieth of all reading.
        if len(records) != np.count_nonzero(np.frombuffer(lines, dtype=np.uint8) == _NEWLINE):
            # Something is wrong, or blank lines were passed over: one by one tells which line it is.
            for number, line in enumerate(lines.split(b"\n")[:-1], self._line + 1):
                self._decode_line(number, line)
        return records

    def _decode_line(self, number: int, line: bytes) -> HistoryRecord:
        try:
            return self._decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise HistoryFormatError(self.path, number, str(error)) from error
        except UnicodeDecodeError as error:
            raise HistoryFormatError(self.path, number, "not UTF-8") from error


def read_history(path: Path) -> Iterator[HistoryRecord]:
    """All records of a history; a torn last line is left out.

    Raises:
        HistoryFormatError: a line other than a torn last one is no record.
        OSError: the file cannot be read.
    """
    return chain.from_iterable(HistoryReader(path).batches())
