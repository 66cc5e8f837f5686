"""One register, and the search for an order of what was done to it.

Just-in-time linearization: an operation takes effect no later than it must, which is when its answer comes. What
is kept on the way is every state that the register may have, with the operations that have taken effect although
they are still open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tester.history.columns import NONE
from tester.history.table import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STATES = 20_000
"""States of one key that are kept at a time; beyond, the verdict is unknown."""

ANYTHING = -2
"""A write that needs nothing of the state before."""
PRESENT = -3
"""A deletion of a key that was there, whatever its value."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on a register. Values are numbers of texts; ``NONE``: absent."""

    id: int
    call: int
    ret: int
    """``NEVER``: nobody knows whether it happened."""
    needs: int
    """The value that it found, ``ANYTHING`` or ``PRESENT``."""
    leaves: int
    """The value afterwards."""

    def fits(self, value: int) -> bool:
        """Whether it may take effect when this is the value."""
        return self.needs in {ANYTHING, value} or (self.needs == PRESENT and value != NONE)


State: TypeAlias = tuple[int, frozenset[int]]


class TooManyStatesError(Exception):
    """Too many operations are open at a time."""


def search(steps: Iterable[Step]) -> tuple[Step, set[int]] | None:
    """Where every order ends: the first operation that none explains, and the values that were possible.

    Raises:
        TooManyStatesError: more than ``MAX_STATES`` had to be kept.
    """
    by_id = {step.id: step for step in steps}
    moments = [(step.call, 0, step.id) for step in by_id.values()]
    # What ends when another begins is taken as overlapping it.
    moments += [(step.ret, 1, step.id) for step in by_id.values() if step.ret != NEVER]
    open_steps: dict[int, Step] = {}
    states: set[State] = {(NONE, frozenset())}
    for _, ends, identifier in sorted(moments):
        if not ends:
            open_steps[identifier] = by_id[identifier]
            continue
        reached = _with(states, identifier, open_steps)
        if not reached:
            return by_id[identifier], {value for value, _ in _closure(states, open_steps)}
        del open_steps[identifier]
        states = {(value, done - {identifier}) for value, done in reached}
    return None


def _with(states: set[State], wanted: int, open_steps: dict[int, Step]) -> set[State]:
    """States in which ``wanted`` has taken effect."""
    return {state for state in _closure(states, open_steps, wanted) if wanted in state[1]}


def _closure(states: set[State], open_steps: dict[int, Step], wanted: int | None = None) -> set[State]:
    """Everything that open operations can lead to; past ``wanted`` nothing needs to happen yet."""
    waiting = [_having_read(state, open_steps) for state in states]
    found = set(waiting)
    while waiting:
        value, done = waiting.pop()
        if wanted in done:
            continue
        for step in open_steps.values():
            if step.id in done or not step.fits(value):
                continue
            after = _having_read((step.leaves, done | {step.id}), open_steps)
            if after not in found:
                found.add(after)
                waiting.append(after)
                if len(found) > MAX_STATES:
                    raise TooManyStatesError(
                        f"answers carry no revisions, and operation {step.id} overlaps too many others"
                    )
    return found


def _having_read(state: State, open_steps: dict[int, Step]) -> State:
    """The state after all open reads that may happen now: to wait with one never helps."""
    value, done = state
    reads = [step.id for step in open_steps.values() if step.needs == value == step.leaves]
    return value, done.union(reads)
