"""The wire: faults on etcd's process, and inside of it."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from agent_service.models.basics import (
    FailpointName,
    FailpointTerm,
    GraceSeconds,
    IntervalSeconds,
    Wire,
)


class StopFault(Wire):
    """SIGTERM (SIGKILL after the grace); healed by starting the member again."""

    kind: Literal["stop"] = "stop"
    grace_seconds: GraceSeconds = 10.0


class KillFault(Wire):
    """SIGKILL, or SIGQUIT for a stack trace in the log; healed by starting the member again."""

    kind: Literal["kill"] = "kill"
    signal: Literal["SIGKILL", "SIGQUIT"] = "SIGKILL"


class PauseFault(Wire):
    """SIGSTOP; healed by SIGCONT."""

    kind: Literal["pause"] = "pause"


class RestartFault(Wire):
    """Stop and start at once; healed when the member runs."""

    kind: Literal["restart"] = "restart"
    grace_seconds: GraceSeconds = 10.0


class CrashLoopFault(Wire):
    """SIGKILL and start, again and again while it is held; healed when the member runs."""

    kind: Literal["crash-loop"] = "crash-loop"
    every_seconds: IntervalSeconds


class LoseDataFault(Wire):
    """SIGQUIT, and the data directory is gone, as after a replaced disk; healed by bringing it back.

    A member that was started with new data meanwhile, as a new member of the cluster, stays: its old data go.
    """

    kind: Literal["lose-data"] = "lose-data"


class FailpointFault(Wire):
    """Set failpoints inside a member that was built with gofail; healed by taking them away.

    Where a term panics, the member must end by it at once; it is started again when the fault is healed.
    """

    kind: Literal["failpoint"] = "failpoint"
    terms: dict[FailpointName, FailpointTerm] = Field(min_length=1, max_length=16)
    """What each failpoint does, by its name or the last part of it."""

    @property
    def panics(self) -> bool:
        """Whether one of them is to end the member."""
        return any("panic" in term for term in self.terms.values())
