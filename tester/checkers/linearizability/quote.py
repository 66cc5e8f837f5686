"""Excerpts of the change log, as findings quote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.changelog import UNSEEN
from tester.history.columns import NONE, OpCol

if TYPE_CHECKING:
    from tester.checkers.linearizability.assembly import Assembly

_LONGEST = 5


def change_at(case: Assembly, row: int) -> str:
    """One change."""
    log = case.log
    key, value = case.history.keys.texts[log.key[row]], int(log.value[row])
    if value == NONE:
        return f"delete {key} at revision {log.revision[row]}"
    text = "something" if value == UNSEEN else case.history.values.texts[value]
    lease = f" lease {log.lease[row]}" if log.lease[row] else ""
    return f"put {key} = {text}{lease} at revision {log.revision[row]}"


def changes_of(case: Assembly, revision: int) -> str:
    """Everything that a revision changed."""
    at = np.array([revision])
    low, high = int(case.log.before(at)[0]), int(case.log.after(at)[0])
    shown = [change_at(case, row) for row in range(low, min(high, low + _LONGEST))]
    return ", ".join(shown + (["…"] if high - low > _LONGEST else [])) or "nothing"


def key_state(case: Assembly, key: int, place: int) -> str:
    """The state of a key before a place of the log."""
    row = int(case.log.row_at(np.array([key]), np.array([place]))[0])
    name = case.history.keys.texts[key]
    if row == NONE:
        return f"{name} was never written before"
    if case.log.value[row] == NONE:
        return f"{name} had been deleted at revision {case.log.revision[row]}"
    return (
        f"{name} was as of {change_at(case, row)}, create revision {case.log.create[row]},"
        f" version {case.log.version[row]}"
    )


def author_of(case: Assembly, key: int, place: int) -> int | None:
    """The operation that made the state of a key before a place of the log, if that is known."""
    if key == NONE:
        return None
    row = int(case.log.row_at(np.array([key]), np.array([place]))[0])
    if row == NONE:
        return None
    ops = case.calls.ops
    authors = np.flatnonzero(
        (ops[OpCol.REV] == case.log.revision[row]) & (ops[OpCol.WROTE] > 0) & (ops[OpCol.LOCAL] == 0)
    )
    return int(ops[OpCol.ID, authors[0]]) if authors.size else None
