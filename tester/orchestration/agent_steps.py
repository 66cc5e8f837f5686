"""What the playbooks ask of one agent, as a command: plays and tester talk to agents by the same client.

::

    python -m tester.orchestration.agent_steps check|provision|heal|cleanup  < request.json

The request is an ``AgentStep``; the answer is one line of JSON, ``{"done": [...]}``, with what was changed on
the host. A failure is a message and a remedy on standard error, and exit status 1.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from agent_client import AgentClient, AgentClientError, AgentUnreachableError, ClientTls
from agent_service.models import FaultState, MemberState
from tester.errors import AgentError, EtcdChaosError, HealError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_service.models import HostInfo

_START_SECONDS = 15.0
"""How long a check waits for an agent that was just started."""
_GONE = frozenset({MemberState.UNINITIALIZED, MemberState.TERMINATED})


class AgentStep(BaseModel):
    """Which agent, how to reach it, and what is wanted of it. Empty strings: not checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    ca: Path
    certificate: Path
    key: Path
    expected_version: str
    wanted_etcd: str
    min_free_bytes: Annotated[int, Field(ge=0)]
    keep_member: bool


async def check(agent: AgentClient, step: AgentStep) -> list[str]:
    """Wait for an agent that was just started, and compare versions.

    Raises:
        AgentError: it is another version.
    """
    info = await _first_answer(agent)
    if step.expected_version not in {"", info.agent_version}:
        raise AgentError(
            f"the agent has version {info.agent_version}, not {step.expected_version}",
            remedy="run playbooks/deploy.yml",
        )
    return []


async def _first_answer(agent: AgentClient) -> HostInfo:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while True:
        try:
            return await agent.check_version()
        except AgentUnreachableError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(0.2)


async def provision(agent: AgentClient, step: AgentStep) -> list[str]:
    """Before a round: the host is fit, and nothing is left of an earlier one.

    Raises:
        AgentError: another agent, no such etcd, or too little room.
    """
    info, usage = await asyncio.gather(agent.check_version(), agent.usage())
    obstacles = []
    if step.expected_version not in {"", info.agent_version}:
        obstacles.append(f"the agent has version {info.agent_version}, not {step.expected_version}")
    if step.wanted_etcd and step.wanted_etcd not in info.etcd_versions:
        there = ", ".join(info.etcd_versions) or "none"
        obstacles.append(f"etcd {step.wanted_etcd} is not installed; there is {there}")
    if obstacles:
        raise AgentError("; ".join(obstacles), remedy="add what is missing and run playbooks/deploy.yml")
    if usage.disk_free_bytes < step.min_free_bytes:
        raise AgentError(
            f"{usage.disk_free_bytes} bytes are left for a member's data, {step.min_free_bytes} are needed",
            remedy="make room on the host, or lower etcd_agent_min_free_bytes",
        )
    return await cleanup(agent, step)


async def heal(agent: AgentClient, _: AgentStep) -> list[str]:
    """Undo every fault.

    Raises:
        HealError: one could not be undone.
    """
    before = {fault.id for fault in await agent.faults() if fault.state not in _DONE}
    after = await agent.heal_all()
    if left := [f"{fault.id}: {fault.evidence}" for fault in after if fault.state not in _DONE]:
        raise HealError("; ".join(left), remedy="see the agent's journal on the host")
    return [f"healed {name}" for name in sorted(before)]


_DONE = frozenset({FaultState.HEALED, FaultState.FAILED})


async def cleanup(agent: AgentClient, step: AgentStep) -> list[str]:
    """Heal, end load workers, then end the member and remove its data unless it is to be kept."""
    done = await heal(agent, step)
    for worker in await agent.load_workers():
        await agent.remove_load(worker.id)
        done.append(f"removed load worker {worker.id}")
    if not step.keep_member and (await agent.member()).state not in _GONE:
        await agent.terminate()
        done.append("ended the member")
    return done


_STEPS: Mapping[str, Callable[[AgentClient, AgentStep], Awaitable[list[str]]]] = {
    "check": check,
    "provision": provision,
    "heal": heal,
    "cleanup": cleanup,
}


async def take(name: str, step: AgentStep) -> list[str]:
    """Take one step; what was changed on the host, in words.

    Raises:
        AgentError: the agent cannot be reached, refused, or is not what it must be.
        HealError: a fault is left.
    """
    try:
        tls = ClientTls(ca=step.ca, certificate=step.certificate, key=step.key)
        async with AgentClient(step.url, tls=tls, timeout_seconds=60) as agent:
            return await _STEPS[name](agent, step)
    except AgentClientError as error:
        raise AgentError(error.message, remedy=error.remedy) from error


def main(name: str, request: bytes) -> int:
    """The command: 0, or 1 with the reason on standard error."""
    try:
        done = asyncio.run(take(name, AgentStep.model_validate_json(request)))
    except EtcdChaosError as error:
        print("\n".join(filter(None, (error.message, error.remedy))), file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode({"done": done}) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin.buffer.read()))
