"""A load host's part of the history, as it is written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tester.history.writer import cut_back

if TYPE_CHECKING:
    from pathlib import Path

    from tester.errors import LoadError
    from tester.history.records import HistoryRecord


class PartFile:
    """Takes records in order of time.

    The first failure to write (a full disk) is kept: the file is cut back to its last whole line, and every later call
    raises it. Behind a torn line nobody could read on.
    """

    def __init__(self, path: Path) -> None:
        """One that does not exist yet."""
        self._path = path
        self._encoder = msgspec.json.Encoder()
        self._size = 0
        self._error: LoadError | None = None

    def create(self) -> None:
        """Make it, empty."""
        self._path.touch(exist_ok=False)

    def append(self, records: list[HistoryRecord]) -> None:
        """Write all of them.

        Raises:
            LoadError: they cannot be written, or earlier ones could not.
        """
        if self._error is not None:
            raise self._error
        if not records:
            return
        data = self._encoder.encode_lines(records)
        try:
            with self._path.open("ab") as file:
                file.write(data)
        except OSError as error:
            remedy = "free space on the file system of the run directory"
            self._error = cut_back(self._path, self._path, self._size, error, remedy)
            raise self._error from error
        self._size += len(data)
