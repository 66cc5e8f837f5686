"""The history read back, whole or while it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tester.errors import EtcdChaosError
from tester.history.records import HistoryRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK_BYTES = 1 << 20


class HistoryFormatError(EtcdChaosError):
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

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decoder: msgspec.json.Decoder[HistoryRecord] = msgspec.json.Decoder(HistoryRecord)
        self._offset = 0
        self._line = 0

    def read_new(self) -> list[HistoryRecord]:
        """All whole records since the last call.

        Raises:
            HistoryFormatError: a whole line is no record.
            OSError: the file cannot be read.
        """
        return list(self.records())

    def records(self) -> Iterator[HistoryRecord]:
        """The same, one at a time and in constant memory. Read it to its end, or start anew.

        Raises:
            HistoryFormatError: a whole line is no record.
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while lines := file.readlines(_CHUNK_BYTES):
                for line in lines:
                    if not line.endswith(b"\n"):
                        return
                    self._offset += len(line)
                    self._line += 1
                    yield self._decode(line)

    def _decode(self, line: bytes) -> HistoryRecord:
        try:
            return self._decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise HistoryFormatError(self.path, self._line, str(error)) from error
        except UnicodeDecodeError as error:
            raise HistoryFormatError(self.path, self._line, "not UTF-8") from error


def read_history(path: Path) -> Iterator[HistoryRecord]:
    """All records of a history; a torn last line is left out.

    Raises:
        HistoryFormatError: a line other than a torn last one is no record.
        OSError: the file cannot be read.
    """
    return HistoryReader(path).records()
