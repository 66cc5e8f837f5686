"""The ways into this host, ssh and the agent itself: tried before and after a fault on its traffic."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from agent_service.errors import FaultFailedError

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings

_ANSWER_SECONDS: Final = 1.0
"""A first packet that is lost for another reason is sent again within this time."""


class WaysIn:
    """Connects to the protected ports on the host's own address; that passes the rules for what comes in.

    A port where nobody listens answers, too, by refusing. What did not answer before, behind a firewall of
    the host's own, is not held against a fault.
    """

    def __init__(self, settings: AgentSettings) -> None:
        address = ip_address(settings.listen_address)
        loopback = "::1" if address.version == 6 else "127.0.0.1"
        self._address = loopback if address.is_unspecified else str(address)
        self._ports = sorted({*settings.protected_ports, settings.port})

    async def answering(self) -> frozenset[int]:
        """The ports that answer now."""
        answers = await asyncio.gather(*map(self._answers, self._ports))
        return frozenset(port for port, answer in zip(self._ports, answers, strict=True) if answer)

    async def require(self, before: frozenset[int]) -> None:
        """See that every port that answered before still does.

        Raises:
            FaultFailedError: one does not: whoever would heal this host might not get in.
        """
        lost = before - await self.answering() if before else before
        if lost:
            ports = ", ".join(map(str, sorted(lost)))
            raise FaultFailedError(
                f"a way into this host is gone: {self._address} port {ports} no longer answers",
                remedy="see which other firewall rules this fault meets there",
            )

    async def _answers(self, port: int) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                _, writer = await asyncio.open_connection(self._address, port)
        except ConnectionRefusedError:
            return True
        except (OSError, TimeoutError):
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True
