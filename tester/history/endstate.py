"""What the cluster looked like when a case or a round was over: the other half of a checker's evidence.

Taken while the load is paused, one entry per member, saved as ``end-state.json`` beside the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tester.errors import HistoryError
from tester.history.records import KeyValue
from tester.results import Recovery

if TYPE_CHECKING:
    from pathlib import Path


class EndStateError(HistoryError):
    """A saved end state cannot be read."""


class MemberExit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One end of a member process, as its agent recorded it."""

    at: int
    """Nanoseconds on the run clock; 0 when the host's clock could not be related to it."""
    expected: bool
    """True when a request or a fault asked for it."""
    cause: str
    code: int | None = None
    signal: int | None = None
    log_tail: tuple[str, ...] = ()


class LogEvidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a member has written since the round began."""

    bytes_read: int
    lines: tuple[str, ...] = ()
    """Those that may tell of a panic or of damage, in order."""
    cut: bool = False
    """There are more of them."""


class MemberEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member, read through its own endpoint. ``error`` says why the rest could not be read."""

    revision: int = 0
    """Of the member itself (header of its Status answer)."""
    applied_index: int = 0
    """Raft index that the member had applied; 0: not known. Tells a slow member from a bent one."""
    raft_term: int = 0
    hash: int | None = None
    hash_revision: int = 0
    """``hash`` and ``content`` are both of this revision."""
    compact_revision: int = 0
    content: tuple[KeyValue, ...] | None = None
    """Every key under the load's prefix at ``hash_revision``, sorted by key; ``None``: not read."""
    alarms: tuple[str, ...] = ()
    log: LogEvidence | None = None
    """``None``: nobody asked for it, or its agent did not answer."""
    exits: tuple[MemberExit, ...] | None = None
    """Ends of the process since the round began, oldest first; ``None``: its agent did not answer."""
    error: str | None = None


class CaseRecovery(msgspec.Struct, frozen=True):
    """Measured recovery times of one case."""

    case: str
    times: Recovery


class Steps(msgspec.Struct, frozen=True):
    """What a stresser that goes step by step got done."""

    stresser: str
    steps: int
    longest: float
    """Seconds without a step, while nothing was done to the cluster and every member answered."""


class EndState(msgspec.Struct, frozen=True):
    """All members at ``at`` (nanoseconds on the run clock). Operations that end later are not judged by it."""

    at: int
    members: dict[str, MemberEnd]
    recoveries: tuple[CaseRecovery, ...] = ()
    gap_limit: float | None = None
    """Seconds that a gap in service may last; ``None``: nobody said."""
    steps: tuple[Steps, ...] = ()
    """Of the round so far."""
    asked: int | None = None
    """When the members were asked for what is here: only what was shown before must be in it, for leases go on
    ending. ``None``: at ``at``."""
    moving: tuple[str, ...] = ()
    """Members that had gone on since they were asked the last time before."""

    late: tuple[str, ...] = ()
    """What is to be said of watchers that were waited for, and did not tell all."""

    @property
    def shown_until(self) -> int:
        """Every revision that anybody was shown before this time is one that the cluster has to have reached."""
        return self.at if self.asked is None else self.asked

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @staticmethod
    def load(path: Path) -> EndState:
        """Read what ``save`` wrote.

        Raises:
            EndStateError: the file is missing or is not an end state.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=EndState)
        except OSError as error:
            raise EndStateError(f"{path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise EndStateError(f"{path}: {error}") from error
