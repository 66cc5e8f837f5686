"""Records that contradict each other."""

from __future__ import annotations

from tester.errors import HistoryError


class HistoryMismatchError(HistoryError):
    """Records contradict each other: an answer without a question, or of another kind than the question."""


def without_question(operation_id: int) -> HistoryMismatchError:
    """For an end without an invocation."""
    return HistoryMismatchError(f"operation {operation_id} ends, but was not invoked or has ended before")


def misplaced_header(line: int) -> HistoryMismatchError:
    """For a header at a line other than the first."""
    return HistoryMismatchError(f"line {line} is a header: the header comes once, first")


def reused(operation_id: int) -> HistoryMismatchError:
    """For an operation that has the id of one that ended before."""
    return HistoryMismatchError(f"operation {operation_id} is another's id, too: each has one of its own")
