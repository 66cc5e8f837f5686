"""What no tester of an etcd can have written: a history that holds it is malformed, and says nothing about a cluster.

Looked at once, over whole columns, when a saved history has been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.history.columns import EventCol, KvCol, OpCol, RefusalCol, ResponseCol, WaitCol
from tester.history.mismatch import HistoryMismatchError, reused
from tester.history.operations import is_write
from tester.history.table import NEVER, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.history import History
    from tester.history.records import Fail, Info, Invoke
    from tester.history.table import Columns, Mask


def refuse_impossible(history: History) -> None:
    """See that ids, times and revisions can be those of an etcd's answers.

    Raises:
        HistoryMismatchError: an id is used again, an operation ended before it was invoked (unless a load host's
            clock was lost), a revision is negative, or 0 beside others, or a number is larger than any can be.
    """
    _refuse_reused_ids(history)
    for rows in (history.operations.rows.columns[[OpCol.ID, OpCol.CALL, OpCol.RET]], *_refusals(history)):
        _refuse_times(rows, lost=any(clock.lost for clock in history.clocks))
    _refuse_revisions(history)


def _refuse_reused_ids(history: History) -> None:
    unknown = [invoke.id for invoke in history.unknown_writes()]
    reading = [invoke.id for invoke in history.unfinished() if not is_write(invoke.op)]
    rest = column([*history.failed_writes, *unknown, *reading])
    ids = np.concatenate(
        (history.operations.rows.columns[OpCol.ID], history.unanswered.columns[WaitCol.ID], rest)
    )
    ids.sort()
    again = ids[1:][ids[1:] == ids[:-1]]
    if again.size:
        raise reused(int(again[0]))


def _refusals(history: History) -> Iterator[Columns]:
    """Id, call and end of operations whose ends are looked at although they were not answered."""
    yield history.revision_refusals.columns[[RefusalCol.ID, RefusalCol.CALL, RefusalCol.RET]]
    ended: list[tuple[Invoke, Fail | Info]] = [*history.lease_refusals, *history.unknown_renewals]
    yield column([x for invoke, end in ended for x in (invoke.id, invoke.at, end.at)]).reshape(-1, 3).T


def _refuse_times(rows: Columns, *, lost: bool) -> None:
    """``lost``: a clock was, and times from its host are no evidence, of this neither."""
    number, call, ret = rows
    _refuse(number, (call >= NEVER) | (ret >= NEVER), f"has a time of 2**{NEVER.bit_length() - 1} ns or more")
    if not lost:
        _refuse(number, ret < call, "ended before it was invoked")


def _refuse_revisions(history: History) -> None:
    ops = history.operations.rows.columns
    revision = ops[OpCol.REV]
    if revision.any():  # all 0: nobody knows them, and keys are registers
        _refuse(ops[OpCol.ID], revision == 0, "was answered with revision 0, which etcd never sends")
    for told, numbers in _told(history):
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= NEVER:
            wrong = numbers[(numbers < 0) | (numbers >= NEVER)][0]
            raise HistoryMismatchError(f"{told} revision {wrong}, which no etcd has")
    wrong = (revision < 0) | (revision >= NEVER)
    _refuse(ops[OpCol.ID], wrong, "was answered with a revision that no etcd has")


def _told(history: History) -> Iterator[tuple[str, Columns]]:
    for told, table in (
        ("an answered key", history.operations.answers),
        ("a previous key", history.previous),
    ):
        yield f"{told} has", table.columns[KvCol.CREATE]
        yield f"{told} has", table.columns[KvCol.MOD]
    yield "a watched change has", history.events.columns[EventCol.CREATE]
    yield "a watched change has", history.events.columns[EventCol.REV]
    yield "a watch response has", history.responses.columns[ResponseCol.REV]


def _refuse(operations: Columns, wrong: Mask, what: str) -> None:
    if wrong.any():
        raise HistoryMismatchError(f"operation {operations[wrong][0]} {what}")
