"""The agents of a run, asked side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from agent_client import AgentClientError
from tester.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_client import AgentClient

T = TypeVar("T")


async def ask_all(
    agents: Mapping[str, AgentClient], question: Callable[[str, AgentClient], Awaitable[T]]
) -> dict[str, T]:
    """Ask every agent at once; the answers by host name.

    Raises:
        AgentError: one line per agent that refused or did not answer. All the others have been asked.
    """
    answers = await asyncio.gather(
        *(question(host, agent) for host, agent in agents.items()), return_exceptions=True
    )
    good: dict[str, T] = {}
    failed: dict[str, AgentClientError] = {}
    for host, answer in zip(agents, answers, strict=True):
        if isinstance(answer, AgentClientError):
            failed[host] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            good[host] = answer
    if failed:
        lines = (f"{host}: {error.message}" for host, error in failed.items())
        raise AgentError("\n".join(lines), remedy=_remedy(failed))
    return good


def _remedy(failed: Mapping[str, AgentClientError]) -> str | None:
    """What to do; said once where it is the same for all hosts."""
    remedies = {host: error.remedy for host, error in failed.items() if error.remedy}
    if len(set(remedies.values())) <= 1:
        return next(iter(remedies.values()), None)
    return "\n".join(f"{host}: {remedy}" for host, remedy in remedies.items())
