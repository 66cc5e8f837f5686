"""What a round's history takes of the tester's memory. Pure.

The checkers judge a round as a whole: until it ends, its history is held in columns, beside the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.scenario.model import CaseSection
    from tester.scenario.stressers import Stresser

BYTES_PER_OPERATION = 800
"""Held and checked, of the dearest mix measured: docs/performance.md, ``mixed``."""
MOST_BYTES = 4 * 1024**3
"""What a round may take before it is said."""
_REMEDY = "fewer or shorter cases in a round and more rounds, or a lower rate, keep it small"


def forecast(stressers: Iterable[Stresser], cases: Iterable[CaseSection]) -> str | None:
    """A warning about a round whose rates, kept up for all its cases, take too much; ``None``: they do not.

    A stresser without a rate is left out: nobody knows what it will get done.
    """
    rate = sum(getattr(stresser, "rate", None) or 0.0 for stresser in stressers)
    seconds = sum(case.steady + case.hold + case.settle for case in cases if case.load)
    operations = round(rate * seconds)
    if operations * BYTES_PER_OPERATION <= MOST_BYTES:
        return None
    return (
        f"a round of {rate:g} operations/s for {seconds:g} s takes {_size(operations)} of the tester's memory:"
        f" {_REMEDY}"
    )


def outgrown(operations: int) -> str | None:
    """A warning about a round that has recorded too much; ``None``: it has not."""
    if operations * BYTES_PER_OPERATION <= MOST_BYTES:
        return None
    return (
        f"{operations} operations in this round, {_size(operations)} of the tester's memory so far: {_REMEDY}"
    )


def _size(operations: int) -> str:
    return f"about {operations * BYTES_PER_OPERATION / 1024**3:.1f} GiB"
