"""The member's log file, read from its end and in bounded pieces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_LINE_CHARACTERS: Final = 2000
"""Longer lines are cut: etcd logs whole requests now and then."""

_MAX_READ_BYTES: Final = 1024 * 1024
_MOST_LINES: Final = 10_000
_GIVES_UP: Final = ("panic: ", "fatal error: ")
_LAST_LEVELS: Final = ('"level":"panic"', '"level":"fatal"')


def log_size(path: Path) -> int:
    """Bytes in the log; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def first_line(path: Path, *, since: int = 0) -> str:
    """The first line after byte ``since``; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(since)
            return file.readline(MAX_LINE_CHARACTERS).decode(errors="replace").rstrip()
    except FileNotFoundError:
        return ""


def dying_words(path: Path, *, since: int = 0) -> str:
    """The first line after byte ``since`` that says why a Go program gave up; empty where none does.

    The stacks of its goroutines come after it, and may be a thousand lines.
    """
    for line in last_lines(path, _MOST_LINES, since=since):
        if line.startswith(_GIVES_UP) or any(level in line for level in _LAST_LEVELS):
            return line
    return ""


def last_lines(path: Path, count: int, *, since: int = 0) -> tuple[str, ...]:
    """At most ``count`` last lines after byte ``since``, out of the last MiB; empty when there is no log."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(since, end - _MAX_READ_BYTES, 0)
            file.seek(start)
            lines = file.read(max(end - start, 0)).splitlines()
    except FileNotFoundError:
        return ()
    if start > since:
        lines = lines[1:]  # begins in the middle of a line
    kept = lines[-count:] if count > 0 else []
    return tuple(line.decode(errors="replace")[:MAX_LINE_CHARACTERS] for line in kept)
