"""One agent per host: whoever holds the lock owns the member and the faults."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class AgentRunningError(Exception):
    """An agent holds the lock; the message says which process."""


@contextmanager
def agent_lock(state_dir: Path) -> Iterator[None]:
    """Hold the lock; the kernel gives it back however the process ends.

    Raises:
        AgentRunningError: another agent (or ``heal``) holds it.
        OSError: the state directory cannot be made or written.
    """
    state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = state_dir / "agent.lock"
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AgentRunningError(f"an agent is running with process id {holder}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
