"""Of the operations on a register, as few as leave one of them without an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tester.checkers.linearizability.register import ANYTHING, TooManyStatesError, search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.checkers.linearizability.register import Step

_TRIES: Final = 300
"""Searches at most: what is left then is small enough, or a person has to look."""


def smallest(steps: Sequence[Step], stuck: Step) -> list[Step]:
    """``stuck`` and what contradicts it, in the order of their calls; to leave out any more would explain it.

    Whoever may have left what it found stays, and who may have left what those found, and so on: without them there
    would be another contradiction, that nobody had.
    """
    before = sorted((step for step in steps if step.call <= stuck.ret), key=lambda step: step.call)
    needed = _enablers(before, stuck)
    others = [step for step in before if step.id not in needed]
    size, tries = len(others), 0
    while size:
        place = 0
        while place < len(others) and tries < _TRIES:
            fewer = others[:place] + others[place + size :]
            tries += 1
            if _contradicts([*fewer, *(step for step in before if step.id in needed)], stuck):
                others = fewer
            else:
                place += size
        size //= 2
    kept = needed | {step.id for step in others}
    return [step for step in before if step.id in kept]


def _enablers(steps: Sequence[Step], stuck: Step) -> set[int]:
    found, waiting = {stuck.id}, [stuck]
    while waiting:
        step = waiting.pop()
        if step.needs == ANYTHING:
            continue
        for other in steps:
            # A read leaves what it found: it explains nothing.
            if other.id not in found and other.needs != other.leaves and step.fits(other.leaves):
                found.add(other.id)
                waiting.append(other)
    return found


def _contradicts(steps: Sequence[Step], stuck: Step) -> bool:
    try:
        found = search(steps)
    except TooManyStatesError:
        return False
    return found is not None and found[0].id == stuck.id
