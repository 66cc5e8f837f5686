"""Who was a member of the cluster when, out of a history's ``member`` records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History

_GOES: Final = frozenset({"leaving", "may-end"})
_COMES: Final = frozenset({"added", "added-learner", "must-run"})


def voters_at(history: History, at_ns: int) -> tuple[str, ...]:
    """The voting members at a time of the run clock; of a history without a header: none are known."""
    names = dict.fromkeys(history.header.members if history.header else ())
    for record in history.member_events:
        if record.at > at_ns:
            continue
        if record.state == "leaving":
            names.pop(record.m, None)
        elif record.state in {"added", "promoted"}:
            names[record.m] = None
    return tuple(names)


def not_asked(history: History, end: EndState) -> tuple[str, ...]:
    """Voting members of which an end state that has any says nothing."""
    return tuple(name for name in voters_at(history, end.at) if end.members and name not in end.members)


def may_end(history: History, member: str, at_ns: int) -> bool:
    """Whether a member's process may have ended by itself then.

    It was on its way out of the cluster, was no member of it, or was tried with a version that should refuse.
    """
    changes = [
        record.state in _GOES
        for record in history.member_events
        if record.m == member and record.at <= at_ns and record.state in _GOES | _COMES
    ]
    return bool(changes) and changes[-1]
