"""What the agent remembers of its member across restarts, and which transitions of it are legal."""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service.durable import write_durably
from agent_service.errors import IllegalStateError, UnavailableError
from agent_service.models import ExitRecord, MemberSpec, MemberState, Wire
from agent_service.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent_service.supervisor.base import ExitStatus

MAX_EXITS: Final = 100
_KEPT_TAILS: Final = 10
"""How many of the newest exits keep their last log lines: the record is written and sent often."""

_GO_STACK_TRACE_STATUS: Final = 2


class Operation(StrEnum):
    """What may be asked of a member."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    RESTART = "restart"
    QUIT = "quit"
    TERMINATE = "terminate"
    ARCHIVE = "archive"
    FORESEE = "foresee an end of"
    MOVE_DATA = "move the data of"
    RESTORE = "restore"
    RECOVER = "recover"
    """Back to running after a fault, if it was not removed meanwhile."""


_S = MemberState

LEGAL: Final[Mapping[Operation, frozenset[MemberState]]] = {
    Operation.START: frozenset({_S.UNINITIALIZED, _S.RUNNING, _S.STOPPED, _S.EXITED, _S.TERMINATED}),
    Operation.STOP: frozenset(MemberState),
    Operation.KILL: frozenset(MemberState),
    Operation.PAUSE: frozenset({_S.RUNNING, _S.PAUSED}),
    Operation.RESUME: frozenset({_S.RUNNING, _S.PAUSED}),
    Operation.RESTART: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED, _S.EXITED}),
    # A paused process could not write its stack trace.
    Operation.QUIT: frozenset(MemberState) - {_S.PAUSED},
    Operation.TERMINATE: frozenset(MemberState),
    Operation.ARCHIVE: frozenset({_S.STOPPED, _S.EXITED, _S.TERMINATED}),
    Operation.FORESEE: frozenset(MemberState),
    Operation.MOVE_DATA: frozenset(MemberState),
    Operation.RESTORE: frozenset({_S.UNINITIALIZED, _S.STOPPED, _S.EXITED, _S.TERMINATED}),
    Operation.RECOVER: frozenset(MemberState),
}
"""From which states an operation is legal. In states where there is nothing to do it does nothing."""


def require(operation: Operation, state: MemberState) -> None:
    """Raise ``IllegalStateError`` unless the operation is legal in this state."""
    if state not in LEGAL[operation]:
        legal = ", ".join(sorted(LEGAL[operation]))
        raise IllegalStateError(
            f"cannot {operation} a member that is {state}", state=state, remedy=f"it must be one of: {legal}"
        )


class Ending(Wire):
    """An end that somebody asked for, noted before the first signal is sent."""

    cause: str
    signals: tuple[int, ...]

    def explains(self, status: ExitStatus | None) -> bool:
        """Whether the process ended as these signals end etcd.

        A panic during an orderly stop is not what was asked for. An end that nobody saw gets the benefit.
        """
        if status is None or (status.code is None and status.signal is None):
            return True
        if status.signal is not None:
            return status.signal in self.signals
        return (status.code == 0 and signal.SIGTERM in self.signals) or (
            status.code == _GO_STACK_TRACE_STATUS and signal.SIGQUIT in self.signals
        )


class MemberRecord(Wire):
    """The whole memory. ``process`` is set while a member runs, ``launching`` while one is being started."""

    state: MemberState = MemberState.UNINITIALIZED
    spec: MemberSpec | None = None
    launching: bool = False
    process: ProcessId | None = None
    started_monotonic_ns: int | None = None
    data_dirs: tuple[str, ...] = ()
    """Directories made for members since the last terminate, which removes them."""
    displaced: MemberSpec | None = None
    """What ran here before data were restored that are not kept yet."""
    log_offset: int = 0
    """Where in the log file the output of the current process begins."""
    ending: Ending | None = None
    foreseen: Ending | None = None
    """An end that a held fault may bring without any signal of the agent's; its cause is the fault."""
    excuse: str | None = None
    """A fault on its disk that may make etcd end itself; not by a signal."""
    exits: tuple[ExitRecord, ...] = ()
    exits_total: int = 0

    def answers_for(self, status: ExitStatus | None) -> str | None:
        """Who asked for such an end, or brought it; ``None``: nobody."""
        if self.ending is not None:
            return self.ending.cause if self.ending.explains(status) else None
        if self.foreseen is not None and self.foreseen.explains(status):
            return self.foreseen.cause
        return self.excuse if self.excuses(status) else None

    def excuses(self, status: ExitStatus | None) -> bool:
        """Whether a fault on its disk explains that etcd ended itself so."""
        return self.excuse is not None and (status is None or status.signal is None)

    def with_exit(self, record: ExitRecord) -> MemberRecord:
        """The process has ended; old exits lose their log lines, the oldest are forgotten."""
        state = MemberState.STOPPED if record.expected else MemberState.EXITED
        return self.model_copy(
            update={
                "state": state,
                "launching": False,
                "process": None,
                "started_monotonic_ns": None,
                "ending": None,
                "exits": _bounded((*self.exits, record)),
                "exits_total": self.exits_total + 1,
            }
        )


def _bounded(exits: tuple[ExitRecord, ...]) -> tuple[ExitRecord, ...]:
    older, newer = exits[-MAX_EXITS:-_KEPT_TAILS], exits[-_KEPT_TAILS:]
    return (*(record.model_copy(update={"log_tail": ()}) for record in older), *newer)


def load_record(path: Path) -> MemberRecord:
    """Read the record; a fresh one when there is none.

    Raises:
        UnavailableError: the file is damaged.
    """
    try:
        return MemberRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return MemberRecord()
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise UnavailableError(
            f"{path} is damaged: {why}",
            remedy="see that no member runs (stop it), then move the file away and restart the agent",
        ) from error


def save_record(path: Path, record: MemberRecord) -> None:
    """Write the record so that it survives any crash; ``UnavailableError`` when the disk does not take it."""
    write_durably(path, record.model_dump_json().encode())
