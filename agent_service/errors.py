"""What the agent refuses or cannot do, and the HTTP status each one means.

::

    AgentServiceError        (abstract)
    ├── NotFoundError        404  there is no such fault, log or version
    ├── IllegalStateError    409  the member or fault is in a state that forbids it; carries the state
    ├── RefusedError         422  never allowed here: allow-list, foreign directory, protected port
    ├── FaultFailedError     424  the fault had no effect, or could not be undone
    │   └── UnreachedError   424  a failpoint that panics was set, and nothing came by it
    └── UnavailableError     503  this host cannot do it: a missing tool, module or permission

A fault without effect is 424 (Failed Dependency): the request was right and the agent is sound, but the host
did not do what was asked. 500 is kept for defects of the agent, so that "no 5xx but 503" stays a meaningful
check.
"""

from __future__ import annotations

from typing import ClassVar

from agent_service.models import UNREACHED


class AgentServiceError(Exception):
    """Base of all: a detail that names what and why, and a remedy that says what to do next."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Agent error"
    type: ClassVar[str] = "about:blank"

    def __init__(self, detail: str, *, remedy: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


class NotFoundError(AgentServiceError):
    """There is no such thing on this host."""

    status = 404
    title = "Not found"


class IllegalStateError(AgentServiceError):
    """A transition that the current state forbids."""

    status = 409
    title = "Illegal state"

    def __init__(self, detail: str, *, state: str, remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.state = state


class RefusedError(AgentServiceError):
    """The agent never does this, in whatever state."""

    status = 422
    title = "Refused"


class FaultFailedError(AgentServiceError):
    """A fault was tried and had no effect, or its undo did not take."""

    status = 424
    title = "Fault failed"


class UnreachedError(FaultFailedError):
    """Failpoints that panic were set, and etcd came by none of them in time; they are taken away."""

    title = "Failpoint not reached"
    type = UNREACHED


class UnavailableError(AgentServiceError):
    """This host cannot do it, now or ever."""

    status = 503
    title = "Unavailable on this host"


class ListenError(Exception):
    """The agent's address or port cannot be had; the message says which and why. No answer to any request."""
