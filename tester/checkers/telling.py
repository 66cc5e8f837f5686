"""Broken guarantees as findings: the change, the other half of the contradiction, and whose write it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS
from tester.checkers.told import Told
from tester.checkers.watched import pairs
from tester.history.columns import EventCol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tester.checkers.base import Evidence
    from tester.checkers.watched import Session, Written
    from tester.history.history import History
    from tester.history.table import Columns, Mask


class Telling:
    """Tells violations to ``evidence``, by the name of the guarantee."""

    def __init__(self, history: History, evidence: Evidence, written: Written) -> None:
        self.words = Told(history)
        self._evidence = evidence
        self._written = written

    def changes(
        self, guarantee: str, session: Session, wrong: Mask, because: Callable[[int], str] | None = None
    ) -> None:
        """A violation for each wrong change of a session; ``because`` gives the other half, by its place."""
        self._evidence.more(int(wrong.sum()) - MAX_FINDINGS)
        for place in np.flatnonzero(wrong)[:MAX_FINDINGS].tolist():
            event = session.events[:, place]
            text = self.words.event(event) + (f"; {because(place)}" if because else "")
            self.violation(guarantee, session, text, [int(event[EventCol.REV])], self._authors(event))

    def missing(self, guarantee: str, session: Session, events: Columns, because: str) -> None:
        """A violation for each change that a session was not told of."""
        self._evidence.more(events.shape[1] - MAX_FINDINGS)
        for event in events.T[:MAX_FINDINGS]:
            text = f"never told of {self.words.bare(event)}, although {because}"
            self.violation(guarantee, session, text, [int(event[EventCol.REV])], self._authors(event))

    def violation(
        self,
        guarantee: str,
        session: Session,
        text: str,
        revisions: list[int],
        operations: Iterable[int] = (),
    ) -> None:
        """One of a session as a whole."""
        start = session.session.start
        self._evidence.violation(
            f"{guarantee}: watcher {start.w} at {start.m}, started at {start.at / 1e9:.6f} s from revision"
            f" {start.rev}: {text}",
            operations=operations,
            revisions=revisions,
            members=[start.m],
            kind=guarantee,
        )

    def _authors(self, event: Columns) -> list[int]:
        """The acknowledged operation that made a change, if there is one."""
        place, there = self._written.find(pairs(event[:, np.newaxis]))
        return [int(operation) for operation in self._written.operation[place[there]]]
