"""What the agent asks of whoever holds the member process while the agent itself may die."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.processes import ProcessId

_SHIFTED: Final = Path(__file__).with_name("shifted.py")


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run, as whom, and where its output goes (appended).

    With an offset it runs in a time namespace whose monotonic clock is ahead of the host's by so many seconds.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    user: str | None
    clock_offset_seconds: int = 0

    def on_its_clock(self) -> Launch:
        """The same as a command that changes clock and user itself: that takes root, so ``user`` is none."""
        if self.clock_offset_seconds == 0:
            return self
        shifted = (sys.executable, "-I", "-S", str(_SHIFTED), str(self.clock_offset_seconds), self.user or "")
        return replace(self, argv=(*shifted, *self.argv), user=None, clock_offset_seconds=0)


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: ``code``, or the ``signal`` that ended it; ``monotonic_ns`` is when, if known."""

    code: int | None
    signal: int | None
    monotonic_ns: int | None


class Supervisor(Protocol):
    """Starts one process that outlives the agent, finds it again, and remembers how it ended.

    Signals are not its business: the agent sends them itself, to the very process it identified. A supervisor
    must never start the process again by itself, and never end it because the agent went away.
    """

    async def launch(self, launch: Launch) -> ProcessId:
        """Start the process and forget how the last one ended.

        Returns a process that may have ended again already.

        Raises:
            UnavailableError: it could not be started.
            IllegalStateError: one that it started still runs.
        """

    async def find(self) -> ProcessId | None:
        """The process it started last, if that still runs."""

    async def exit_status(self, process: ProcessId) -> ExitStatus | None:
        """How this process ended; waits a moment for it to be known. ``None``: nobody will ever know."""

    async def release(self) -> None:
        """Forget about a process that has ended, and leave no trace of it. Safe to repeat."""
