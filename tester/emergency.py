"""``etcd-chaos stop`` and ``clear``: no host takes a new fault until somebody says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from agent_client.errors import AgentClientError
from tester.errors import AgentError
from tester.healing import HealingAgent, heal_hosts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import EmergencyStop
    from tester.healing import Healed, Plays
    from tester.inventory import Inventory


class StoppableAgent(HealingAgent, Protocol):
    """The part of ``AgentClient`` that an emergency stop needs."""

    async def emergency_stop(self, reason: str) -> EmergencyStop:
        """Heal everything and refuse new faults; harmless when it is repeated."""

    async def clear_emergency_stop(self) -> EmergencyStop:
        """Allow faults again; harmless where nothing was stopped."""


async def stop_hosts(
    inventory: Inventory, agents: Mapping[str, StoppableAgent], plays: Plays, reason: str
) -> tuple[Healed, ...]:
    """Stop every host and see that nothing is left on any, over ssh where an agent does not answer.

    Raises:
        HealError: faults are left on a host; the others are stopped and healed.
        AgentError: all hosts are healed, but an agent did not take the stop and could be asked for new faults.
    """
    names = [host.name for host in inventory.hosts]
    ends = await _stop_each(agents, names, reason)
    healed = await heal_hosts(inventory, agents, plays)
    # Healing over ssh has started the agents anew that were dead; a run that goes on would find them willing.
    ends |= await _stop_each(agents, [name for name in names if ends[name]], reason)
    open_ = [f"host {name}: not stopped: {end}" for name, end in ends.items() if end]
    if open_:
        raise AgentError(
            "\n".join(open_),
            remedy="nothing is left there, but its agent may take new faults: say etcd-chaos stop again, "
            "or stop unit etcd-chaos-agent on it",
        )
    return healed


async def _stop_each(
    agents: Mapping[str, StoppableAgent], names: Sequence[str], reason: str
) -> dict[str, str | None]:
    """By host: why it is not stopped."""
    ends = await asyncio.gather(*(_stop(agents[name], reason) for name in names))
    return dict(zip(names, ends, strict=True))


async def _stop(agent: StoppableAgent, reason: str) -> str | None:
    try:
        stop = await agent.emergency_stop(reason)
    except AgentClientError as error:
        return error.message
    return None if stop.engaged else "its agent says that it is not"
