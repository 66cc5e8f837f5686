"""Whether a host with a fault on its traffic can still be reached: tried from here, over the real network.

The agent's own look (``agent_service.faults.waysin``) goes by its host's loopback, past the rules of packet queues and
past every queueing discipline. From here nothing is passed by.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent_client.errors import AgentClientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from tester.faults.specs import FaultAgent
    from tester.inventory import Host

_BEFORE_SECONDS: Final = 2.0
"""Every fault would wait so long where a firewall swallows what goes to ssh."""

SSH_PAUSE_SECONDS: Final = 5.0
"""Between looks at one host's ssh after faults of one kind: a fault that comes and goes would else have sshd count them
as attempts, and shut the tester out (PerSourcePenalties of OpenSSH 9.8 and later: a second for each)."""

Answers: TypeAlias = "Callable[[str, int, float], Awaitable[bool]]"
"""Address, port and seconds: whether something answers there within that time."""


async def answers(address: str, port: int, seconds: float) -> bool:
    """Whether a TCP port answers; a refusal is an answer, too."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


_ANSWERED: Final = "it answered"


class Witness:
    """Looks before a fault and after it.

    Whether ssh answers is asked before, too: an inventory may reach it by another address or a jump host, and
    that is not held against the fault. The agent answers before, or nothing could be injected.
    """

    def __init__(self, host: Host, agent: FaultAgent, look: Answers, seconds: float) -> None:
        self._host = host
        self._agent = agent
        self._look = look
        self._seconds = seconds
        self._ssh = "ssh was looked at a moment ago"

    async def before(self, kind: str, looked: dict[tuple[str, str], float]) -> None:
        """Look at ssh before the fault.

        Args:
            kind: of the fault.
            looked: when ssh was looked at last, by host and kind, on the event loop's clock; brought up to date.
        """
        now, key = asyncio.get_running_loop().time(), (self._host.name, kind)
        if now - looked.get(key, -SSH_PAUSE_SECONDS) < SSH_PAUSE_SECONDS:
            return
        looked[key] = now
        there = await self._answers(min(_BEFORE_SECONDS, self._seconds))
        self._ssh = _ANSWERED if there else "ssh did not before either"

    async def objection(self) -> str | None:
        """Which way into the host is gone; ``None``: all that were there are."""
        agent, ssh = await asyncio.gather(self._agent_lost(), self._ssh_lost())
        return "; ".join(lost for lost in (agent, ssh) if lost is not None) or None

    @property
    def evidence(self) -> str:
        """What was seen where there was no objection."""
        who = "agent and ssh answer" if self._ssh == _ANSWERED else f"the agent answers ({self._ssh})"
        return f"from the tester, {who} on new connections"

    async def _agent_lost(self) -> str | None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._agent.knock()
        except (AgentClientError, TimeoutError) as error:
            return f"its agent takes no new connection: {str(error) or f'none within {self._seconds:g}s'}"
        return None

    async def _ssh_lost(self) -> str | None:
        if self._ssh != _ANSWERED or await self._answers(self._seconds):
            return None
        return f"ssh ({self._host.address} port {self._host.ssh_port}) no longer answers"

    async def _answers(self, seconds: float) -> bool:
        return await self._look(self._host.address, self._host.ssh_port, seconds)
