"""Where the console writes to, and what happens when that goes away."""

from __future__ import annotations

import io
import logging
from typing import TextIO

_log = logging.getLogger(__name__)


class Output(io.TextIOBase):
    """A text stream that never raises: a run must heal its faults although nobody can be told any more.

    Once a write fails (the reader of a pipe has gone, the disk under a redirected file is full) the rest is
    dropped, after one warning through ``logging``. Characters that the stream cannot encode are escaped; with
    ``ascii_only`` that is everything beyond ASCII, and rich draws its boxes in ASCII too.
    """

    def __init__(self, stream: TextIO, *, ascii_only: bool = False) -> None:
        self._stream = stream
        self._encoding = "ascii" if ascii_only else stream.encoding or "utf-8"
        self._lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override] # typeshed has an attribute; rich reads it
        """What rich may use."""
        return self._encoding

    def isatty(self) -> bool:
        """Whether the stream underneath is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream underneath; rich asks it for the size of the terminal."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write the text, or drop it if the stream is lost."""
        if not self._lost:
            try:
                self._stream.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the stream is lost."""
        if not self._lost:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._lost = True
        _log.warning("output is lost (%s); the run goes on, see its run directory", error)
