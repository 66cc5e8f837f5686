"""A long history read by several processes: each has every so manieth piece of the file.

::

    reading   0 ── 2 ── 4 ── …  ╮
    reading   1 ── 3 ── 5 ── …  ┴▶ taken in order

A pipe that is full makes a process wait: whatever is how long, some pieces are in memory.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from itertools import cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tester.errors import HistoryError
from tester.history.pieces import Assembled, Piece
from tester.history.reader import HistoryReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from tester.history.history import History

PIECE_BYTES: Final = 1 << 24
"""Some 60,000 operations: a quarter of a second to read, which is as long as a process takes to start."""

_AT_ONCE: Final = 4
"""Processes at most: there is one who takes what they send."""


def readers_for(path: Path) -> int:
    """How many processes a history is worth, on the processors that this one may use; 1: read it here."""
    pieces = path.stat().st_size // PIECE_BYTES
    return max(1, min(_AT_ONCE, pieces // 2, len(os.sched_getaffinity(0))))


def read_together(path: Path, readers: int) -> History | None:
    """The history in a file; ``None``: not so (a mistake in it, no memory), and reading it in order will tell why.

    Raises:
        OSError: the file cannot be looked at.
    """
    pieces = cuts(path, PIECE_BYTES)
    history = Assembled()
    with ExitStack() as processes:
        try:
            pipes = [processes.enter_context(_reader(path, pieces[n::readers])) for n in range(readers)]
            for _, pipe in zip(pieces, cycle(pipes), strict=False):
                history.append(pickle.load(pipe))  # noqa: S301 - from a process of our own
        except (HistoryError, OSError, EOFError, pickle.UnpicklingError):
            return None
    return history


def read_piece(path: Path, start: int, end: int) -> Piece:
    """The lines between two offsets.

    Raises:
        HistoryFormatError: one is no record.
        HistoryMismatchError: they contradict each other.
        OSError: the file cannot be read.
    """
    piece = Piece()
    for batch in HistoryReader(path, start, end).batches():
        piece.extend(batch)
    piece.close()
    return piece


def cuts(path: Path, piece_bytes: int) -> list[tuple[int, int]]:
    """Where pieces of about that size begin and end, between lines; the last ends where the file does."""
    size = path.stat().st_size
    offsets = {0, size}
    with path.open("rb") as file:
        for offset in range(piece_bytes, size, piece_bytes):
            file.seek(offset - 1)
            file.readline()
            offsets.add(file.tell())
    return list(pairwise(sorted(offsets)))


@contextmanager
def _reader(path: Path, pieces: list[tuple[int, int]]) -> Iterator[IO[bytes]]:
    """A process that reads these pieces; what it has found, one by one."""
    own = [f"{start}-{end}" for start, end in pieces]
    # Ctrl-C is for who waits for it. Not from here: the directory may hold modules of the same names.
    command = (sys.executable, "-P", "-m", "tester.history.together", str(path), *own)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what is wrong is told by who reads in order then
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            yield process.stdout
        finally:
            process.kill()


def main() -> int:
    """A reader: pieces to standard output."""
    path, pieces = Path(sys.argv[1]), sys.argv[2:]
    try:
        for piece in pieces:
            start, end = piece.split("-")
            pickle.dump(read_piece(path, int(start), int(end)), sys.stdout.buffer, protocol=5)
            sys.stdout.buffer.flush()
    except (HistoryError, BrokenPipeError):
        return 1  # who asked will find the place, or has gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
