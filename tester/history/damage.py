"""Malformed histories that a command was given."""

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
        UsageError: instead of a ``HistoryError``; it names the file.
    """
    try:
        yield
    except HistoryError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        remedy = error.remedy or "docs/history.md describes the format"
        raise UsageError(message, remedy=remedy) from error
