"""Rules about transactions: the branch that ran is the one that the conditions choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS
from tester.checkers.linearizability.changelog import UNSEEN
from tester.history.columns import NONE, OPERATORS, TARGETS, CompareCol, NodeCol, OpCol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.checkers.linearizability.assembly import Assembly
    from tester.checkers.linearizability.calls import Calls
    from tester.checkers.linearizability.replay import Replay
    from tester.checkers.linearizability.ruling import Ruling
    from tester.history.history import History
    from tester.history.table import Columns

_VALUE = TARGETS.index("value")
_CHUNK = 2_000_000
"""Keys of range conditions that are looked up at a time."""

FALSE, TRUE, MAYBE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class WrongBranch:
    """A transaction that ran the branch that its conditions do not choose."""

    row: int
    """Of the operation."""
    succeeded: bool
    refuted: tuple[int, ...]
    """Rows of its conditions that do not hold."""


def wrong_branches(replay: Replay, calls: Calls) -> list[WrongBranch]:
    """Every condition at the state before the transaction wrote anything, nested ones too."""
    nodes, compares = calls.nodes, calls.compares
    if not nodes.shape[1]:
        return []
    of_node = compares[CompareCol.NODE]
    holds = _holds(replay, compares, replay.place_of(calls, nodes[NodeCol.OP])[of_node])
    refuted = np.bincount(of_node[holds == FALSE], minlength=nodes.shape[1]) > 0
    undecided = np.bincount(of_node[holds == MAYBE], minlength=nodes.shape[1]) > 0
    succeeded = nodes[NodeCol.SUCCEEDED] == 1
    wrong = np.where(succeeded, refuted, ~refuted & ~undecided)
    return [
        WrongBranch(
            int(nodes[NodeCol.OP, node]),
            bool(succeeded[node]),
            tuple(np.flatnonzero((of_node == node) & (holds == FALSE)).tolist()),
        )
        for node in np.flatnonzero(wrong)
    ]


def judge_compares(case: Assembly, ruling: Ruling, *, local: bool = False) -> None:
    """Transactions ran the right branch; with ``local`` those that a member answered from its own state."""
    ops = case.calls.ops
    found = [
        wrong for wrong in wrong_branches(case.replay, case.calls) if ops[OpCol.LOCAL, wrong.row] == local
    ]
    found.sort(key=lambda wrong: int(ops[OpCol.REV, wrong.row]))
    ruling.more(len(found) - MAX_FINDINGS)
    for wrong in found[:MAX_FINDINGS]:
        operation, revision = int(ops[OpCol.ID, wrong.row]), int(ops[OpCol.REV, wrong.row])
        texts = ", ".join(_quote(case.history, case.calls.compares[:, row]) for row in wrong.refuted)
        why = f"took then, but at its place does not hold: {texts}"
        ruling.violation(
            f"{case.history.describe(operation)};"
            f" it {why if wrong.succeeded else 'took else, but at its place all its conditions hold'}",
            operations=[operation],
            revisions=[revision],
            certain=revision < case.free_from,
        )


def _holds(replay: Replay, compares: Columns, place: Columns) -> Columns:
    out = np.full(compares.shape[1], TRUE, dtype=np.int64)
    single = np.flatnonzero(compares[CompareCol.END] == NONE)
    keys = compares[CompareCol.KEY, single]
    row = replay.log.row_at(keys, place[single])
    out[single] = np.where(replay.is_open(keys, row), MAYBE, _compare(replay, compares[:, single], row))
    ranged = np.flatnonzero(compares[CompareCol.END] != NONE)
    if not ranged.size:
        return out
    order = replay.order
    low, high = order.spans(compares[CompareCol.KEY, ranged], compares[CompareCol.END, ranged])
    inside = order.inside(
        compares[CompareCol.KEY, ranged], compares[CompareCol.END, ranged], replay.history.prefix
    )
    loose = ~inside | replay.log.unsure  # keys of other people, or from before the history, may be there
    for chunk in _chunks(high - low):
        part = ranged[chunk]
        width = (high - low)[chunk]
        owner = np.repeat(np.arange(part.size), width)
        offset = np.arange(owner.size) - np.repeat(np.cumsum(width) - width, width)
        key = order.by_rank[low[chunk][owner] + offset]
        row = replay.log.row_at(key, place[part][owner])
        there = replay.log.is_live(row)
        result = _compare(replay, compares[:, part[owner[there]]], row[there])
        refuted = np.bincount(owner[there][result == FALSE], minlength=part.size) > 0
        undecided = np.bincount(owner[there][result == MAYBE], minlength=part.size) > 0
        empty = np.bincount(owner[there], minlength=part.size) == 0
        # A range without a key compares like one absent key.
        absent = _compare(replay, compares[:, part], np.full(part.size, NONE, dtype=np.int64))
        absent = np.where(loose[chunk], MAYBE, absent)
        out[part] = np.where(empty, absent, np.where(refuted, FALSE, np.where(undecided, MAYBE, TRUE)))
    out[ranged[loose & (out[ranged] == TRUE)]] = MAYBE
    return out


def _chunks(widths: Columns) -> Iterator[slice]:
    total = np.cumsum(widths)
    start = 0
    while start < widths.size:
        limit = (total[start - 1] if start else 0) + _CHUNK
        stop = max(start + 1, int(np.searchsorted(total, limit, side="right")))
        yield slice(start, stop)
        start = stop


def _compare(replay: Replay, compares: Columns, row: Columns) -> Columns:
    """Each condition against the state that a row of the log tells; ``NONE``: the key was never there."""
    log = replay.log
    target, x = compares[CompareCol.TARGET], compares[CompareCol.X]
    there = log.is_live(row)
    at = np.where(there, row, 0)
    actual = np.zeros(row.shape, dtype=np.int64)
    for name, column in (
        ("version", log.version),
        ("create", log.create),
        ("mod", log.revision),
        ("lease", log.lease),
    ):
        mine = there & (target == TARGETS.index(name))
        actual[mine] = column[at[mine]]
    by_value = target == _VALUE
    mine = there & by_value
    actual[mine] = log.value[at[mine]]
    order = np.sign(actual - x)
    ordered = compares[CompareCol.OPERATOR] >= OPERATORS.index("<")
    holds = _apply(compares[CompareCol.OPERATOR], order)
    for place in np.flatnonzero(mine & ordered & (actual != UNSEEN)):
        texts = replay.history.values.texts
        compared = compare_values(texts[actual[place]], texts[x[place]])
        operator = compares[CompareCol.OPERATOR, place : place + 1]
        holds[place] = MAYBE if compared is None else _apply(operator, np.array([compared]))[0]
    holds[mine & (actual == UNSEEN)] = MAYBE
    holds[by_value & ~there] = FALSE
    of_age = (target == TARGETS.index("version")) | (target == TARGETS.index("create"))
    aged = np.flatnonzero(there & of_age)
    holds[aged[log.ageless[at[aged]]]] = MAYBE
    return holds


def _apply(operator: Columns, order: Columns) -> Columns:
    results = np.stack([order == 0, order != 0, order < 0, order > 0])
    return results[operator, np.arange(order.size)].astype(np.int64)


def compare_values(one: str, other: str) -> int | None:
    """Order of two values as recorded; ``None`` where the padding, which is not recorded, decides.

    A value is recorded as ``ID:SIZE`` and consists of its id and padding.
    """
    if one == other:
        return 0
    first, second = one.rpartition(":")[0] or one, other.rpartition(":")[0] or other
    if first.startswith(second) or second.startswith(first):
        return None
    return 1 if first > second else -1


def _quote(history: History, compare: Columns) -> str:
    _, key, end, target, operator, x = (int(number) for number in compare)
    keys, values = history.keys.texts, history.values.texts
    span = keys[key] if end == NONE else f"[{keys[key]}, {keys[end]!r})"
    wanted = values[x] if target == _VALUE else x
    return f"{TARGETS[target]}({span}) {OPERATORS[operator]} {wanted}"
