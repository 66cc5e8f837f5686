"""What can go wrong between here and an agent.

::

    AgentClientError
    ├── AgentUnreachableError   no answer: refused, lost, too late; whether the agent acted is unknown
    ├── AgentTlsError           one side does not trust the other's certificate; nothing was done
    ├── AgentRefusedError       the agent said no and why; carries its problem
    └── AgentVersionError       it speaks another version of the interface, or is no agent at all
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_service.models import Problem


class AgentClientError(Exception):
    """Base of all: a message that names the agent, and a remedy that says what to do next."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class AgentUnreachableError(AgentClientError):
    """No answer came. A request that changes something may have been carried out all the same."""


class AgentTlsError(AgentClientError):
    """A certificate or key is missing, wrong, expired or not trusted, here or there."""


class AgentRefusedError(AgentClientError):
    """The agent answered with a problem."""

    def __init__(self, message: str, problem: Problem) -> None:
        super().__init__(message, remedy=problem.remedy)
        self.problem = problem


class AgentVersionError(AgentClientError):
    """What answers is an agent of another version, or no agent."""
