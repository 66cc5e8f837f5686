"""The order in which the cases of a round come, where it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.scenario.model import Until

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tester.scenario.model import CaseSection


def draw_order(cases: Sequence[CaseSection], draw: random.Random) -> tuple[CaseSection, ...]:
    """All cases in an order drawn, those that wait for a snapshot as far apart as they can be.

    For half a minute after one was sent (``tester.until.RELEASE_SECONDS``) a leader forgets no entries, and the next
    case that wants one would stand and wait. To a member that comes with nothing one is sent all the same: cases that
    add one come right after those that wait, and share their half minute.
    """
    drawn = list(cases)
    draw.shuffle(drawn)
    adding = [case for case in drawn if case.changes_members]
    waiting = [case for case in drawn if case.until is Until.SNAPSHOT and case not in adding]
    others = [case for case in drawn if case not in adding and case not in waiting]
    if len(waiting) < 2:
        return tuple(drawn)
    order: list[CaseSection] = []
    for number, case in enumerate(waiting):
        order += [case, *_share(adding, number, len(waiting)), *_share(others, number, len(waiting))]
    first = draw.randrange(len(order))
    return (*order[first:], *order[:first])


def _share(cases: list[CaseSection], number: int, parts: int) -> list[CaseSection]:
    """The part counted from 0 of so many that are as equal as they can be."""
    return cases[number * len(cases) // parts : (number + 1) * len(cases) // parts]
