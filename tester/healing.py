"""``etcd-chaos heal``: undo every fault on every host, through the agents, else over ssh."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent_client.errors import AgentClientError
from agent_service.models import FaultState
from tester.errors import AnsibleError, HealError
from tester.orchestration.plays import PlayError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import FaultStatus
    from tester.inventory import Inventory
    from tester.orchestration.plays import PlayOutcome

PLAYBOOK = "heal"
_UNDONE = frozenset({FaultState.HEALED, FaultState.FAILED})


class HealingAgent(Protocol):
    """The part of ``AgentClient`` that healing needs."""

    async def faults(self) -> tuple[FaultStatus, ...]:
        """Every fault the agent knows of."""

    async def heal_all(self) -> tuple[FaultStatus, ...]:
        """Undo every fault, last in first out; harmless when there is none."""


class Plays(Protocol):
    """The part of ``Playbooks`` that healing needs."""

    async def run(self, playbook: str, *, limit: Sequence[str] = ()) -> PlayOutcome:
        """Run a playbook on some hosts."""


@dataclass(frozen=True, slots=True)
class Healed:
    """One host without faults. ``how`` says who saw to it: ``agent`` or ``playbook``."""

    host: str
    how: str
    faults: tuple[str, ...] = ()
    """Ids of what had to be healed, where the agent could tell."""


async def heal_hosts(
    inventory: Inventory, agents: Mapping[str, HealingAgent], plays: Plays
) -> tuple[Healed, ...]:
    """Heal every host of the inventory.

    Raises:
        HealError: neither its agent nor ssh could heal a host; names each. The others are healed.
    """
    names = [host.name for host in inventory.hosts]
    ends = dict(zip(names, await asyncio.gather(*(_ask(name, agents[name]) for name in names)), strict=True))
    troubled = {name: end for name, end in ends.items() if isinstance(end, str)}
    still = await _over_ssh(plays, list(troubled)) if troubled else {}
    if still:
        raise HealError(
            "\n".join(
                f"host {name}: its agent: {troubled[name]}; over ssh: {text}" for name, text in still.items()
            ),
            remedy="log in to each and run: etcd-chaos-agent heal",
        )
    return tuple(Healed(name, "playbook") if isinstance(end, str) else end for name, end in ends.items())


async def _ask(name: str, agent: HealingAgent) -> Healed | str:
    try:
        before = [fault.id for fault in await agent.faults() if fault.state not in _UNDONE]
        left = [fault for fault in await agent.heal_all() if fault.state not in _UNDONE]
    except AgentClientError as error:
        return error.message
    if left:
        return "; ".join(f"fault {fault.id} is {fault.state}: {fault.evidence}" for fault in left)
    return Healed(name, "agent", tuple(before))


async def _over_ssh(plays: Plays, hosts: Sequence[str]) -> dict[str, str]:
    """Run the playbook on some hosts; those it did not surely heal, and why."""
    try:
        outcome, otherwise = await plays.run(PLAYBOOK, limit=hosts), None
    except PlayError as error:
        outcome, otherwise = error.outcome, f"the play failed, here or elsewhere: {error.message}"
    except AnsibleError as error:
        return dict.fromkeys(hosts, error.message)
    problems = dict.fromkeys(outcome.unreachable, "unreachable")
    problems |= {failure.host: f"{failure.task}: {failure.message}" for failure in outcome.failures}
    return {name: text for name in hosts if (text := problems.get(name, otherwise)) is not None}
