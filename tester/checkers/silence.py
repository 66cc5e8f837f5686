"""Watchers that were told nothing of what went on: that they would have been told right, nobody knows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from tester.history.columns import EventCol, OpCol, ResponseCol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.checkers.base import Evidence
    from tester.checkers.watched import Ranges, Session, Written
    from tester.history.history import History
    from tester.history.table import Columns

SILENCE_NS: Final = 10_000_000_000
"""A watcher may be that far behind when a history ends: a member that stood still was just given up."""

_NOTHING: Final = -1
"""Of who watches from now on and was told nothing, nobody knows from where on."""


def doubt_silence(
    history: History, sessions: Sequence[Session], written: Written, ranges: Ranges, evidence: Evidence
) -> None:
    """A doubt for each watcher that should long have been told more, and watched on to the end."""
    if history.epochs:
        return  # of a cluster that was lost nobody had time to tell all
    known, end_ns = _known(history, written)
    by_watcher: defaultdict[int, list[Session]] = defaultdict(list)
    for session in sessions:
        by_watcher[session.session.start.w].append(session)
    for watcher, mine in by_watcher.items():
        first, last = mine[0].session, mine[-1].session
        left = last.end is not None and last.end.at < end_ns - SILENCE_NS
        if left or first.start.at > end_ns - SILENCE_NS:
            continue
        told = max(map(_told, mine))
        if told == _NOTHING:
            continue
        later = [
            changes[:, np.searchsorted(changes[EventCol.REV], told, side="right") :] for changes in known
        ]
        wanted = [changes[EventCol.REV, ranges.admits(first.start, changes)] for changes in later]
        if missing := np.unique(np.concatenate(wanted)).tolist():
            more = f" and {len(missing) - 1} later ones" if len(missing) > 1 else ""
            evidence.doubt(
                f"watcher {watcher} on {last.start.m} was told of nothing after revision {told}, though revision"
                f" {missing[0]}{more} had been known for {SILENCE_NS // 10**9} s when the history ended:"
                " whether it would have been told right, is not shown"
            )


def _told(session: Session) -> int:
    """The newest revision up to which a session was told all, or that it is compacted away."""
    start, end = session.session.start, session.session.end
    if not start.rev and session.span is None:
        return _NOTHING
    return max(start.rev - 1, session.span[1] if session.span else 0, end.compacted - 1 if end else 0)


def _known(history: History, written: Written) -> tuple[tuple[Columns, Columns], int]:
    """Changes that were told or acknowledged a while before the end, by revision; and when the history ended."""
    events, responses, ops = (
        history.events.columns,
        history.responses.columns,
        history.operations.rows.columns,
    )
    end_ns = int(max(responses[ResponseCol.AT].max(initial=0), ops[OpCol.RET].max(initial=0)))
    told = events[:, responses[ResponseCol.AT, events[EventCol.RESPONSE]] < end_ns - SILENCE_NS]
    told = told[:, np.argsort(told[EventCol.REV], kind="stable")]
    return (told, written.events[:, written.answered < end_ns - SILENCE_NS]), end_ns
