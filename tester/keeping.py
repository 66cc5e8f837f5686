"""Whose evidence is kept in a run that goes on for days."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tester.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.results import RoundResult
    from tester.rundir import RoundDirectory


class Keeping:
    """Drops the evidence of rounds that were valid, all but the last few; of others it drops nothing.

    Args:
        rounds: how many valid ones to keep; ``None``: all.
        valid: those of earlier sessions, oldest first.
    """

    def __init__(self, rounds: int | None, valid: Iterable[RoundDirectory] = ()) -> None:
        self._rounds = rounds
        self._valid = deque(valid)

    def add(self, directory: RoundDirectory, result: RoundResult) -> None:
        """Take in a round that is done.

        Raises:
            InfrastructureError: something could not be removed.
        """
        if self._rounds is None or result.exit_code is not ExitCode.VALID:
            return
        self._valid.append(directory)
        while len(self._valid) > self._rounds:
            self._valid.popleft().prune()
