"""Keeps the lease of one injected fault alive, and says when it could not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_client.errors import AgentClientError, AgentRefusedError
from agent_service.models import FaultState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.faults.specs import FaultAgent


async def keep_lease(
    agent: FaultAgent, fault_id: str, lease_seconds: float, *, on_trouble: Callable[[str], None]
) -> str:
    """Renew a fault every third of its lease until that fails for good; how it failed.

    A renewal that gets no answer is tried again sooner: the lease outlives two that are lost. ``on_trouble``
    is told of the first one in a row.
    """
    now = asyncio.get_running_loop().time
    pace = lease_seconds / 3
    renewed = now()
    troubled = False
    while True:
        await asyncio.sleep(pace / 4 if troubled else pace)
        asked = now()
        try:
            async with asyncio.timeout(pace):
                status = await agent.renew(fault_id, lease_seconds)
        except AgentRefusedError as error:
            return f"the agent no longer holds it: {error.message}"
        except (AgentClientError, TimeoutError) as error:
            text = str(error) or "no answer in time"
            if now() - renewed >= lease_seconds:
                return f"not renewed for {lease_seconds:g}s, so the host has healed itself: {text}"
            if not troubled:
                on_trouble(text)
            troubled = True
            continue
        if status.state is not FaultState.INJECTED:
            return f"it is {status.state} (by {status.healed_by or 'nobody'}): {status.evidence}"
        renewed, troubled = asked, False
