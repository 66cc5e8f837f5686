"""Records that contradict each other."""

from __future__ import annotations

from tester.errors import HistoryError


class HistoryMismatchError(HistoryError):
    """Records contradict each other: an answer without a question, or of another kind than the question."""


def without_question(operation_id: int) -> HistoryMismatchError:
    """For an end without an invocation."""
    return HistoryMismatchError(f"operation {operation_id} ends, but was not invoked or has ended before")
