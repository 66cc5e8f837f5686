"""Malformed histories that a command was given, and files that cannot be read or written."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tester.errors import HistoryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def as_bad_input(path: Path) -> Iterator[None]:
    """What is wrong with a history that was named is the caller's mistake, and no failure of a run.

    Raises:
        UsageError: instead of a ``HistoryError`` or an ``OSError``; it names the file.
    """
    try:
        yield
    except HistoryError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        remedy = error.remedy or "docs/history.md describes the format"
        raise UsageError(message, remedy=remedy) from error
    except OSError as error:
        raise _unusable(error.filename or path, "read", error, "name what exists and may be read") from error


@contextmanager
def as_bad_target(path: Path) -> Iterator[None]:
    """Where nothing can be written, the caller named the wrong place.

    Raises:
        UsageError: instead of an ``OSError``; it names the file.
    """
    try:
        yield
    except OSError as error:
        raise _unusable(
            path, "written", error, "name a place that exists, may be written and has room"
        ) from error


def _unusable(path: Path | str, what: str, error: OSError, remedy: str) -> UsageError:
    return UsageError(f"{path} cannot be {what}: {error.strerror or error}", remedy=remedy)
