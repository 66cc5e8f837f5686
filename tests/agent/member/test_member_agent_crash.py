"""The agent dies; the member does not notice, and the next agent knows everything."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent_service.audit import AuditLog
from agent_service.errors import UnavailableError
from agent_service.faults.heal import heal_host
from agent_service.faults.manager import FaultManager
from agent_service.member_record import load_record, save_record
from agent_service.models import (
    FaultRequest,
    FaultSpec,
    FaultState,
    KillFault,
    MemberState,
    PauseFault,
    StopFault,
)
from agent_service.processes import is_alive, is_stopped
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings
    from tests.agent.member.conftest import MakeMember, MakeOther

pytestmark = pytest.mark.etcd

PATIENCE_SECONDS = 20.0


def fault(spec: FaultSpec, lease_seconds: float = 600.0) -> str:
    return FaultRequest(id="f1", spec=spec, lease_seconds=lease_seconds, reason="test").model_dump_json()


def audit(settings: AgentSettings) -> AuditLog:
    return AuditLog(settings.state_dir / "audit.jsonl")


async def test_the_member_outlives_its_agent(
    other_agent: MakeOther, make_member: MakeMember, any_version: str
) -> None:
    agent = other_agent("start", member_spec(any_version).model_dump_json())
    pid = int(agent.said)
    agent.kill()
    member = await make_member()
    assert member.status().pid == pid
    assert member.state is MemberState.RUNNING
    assert member.status().exits_total == 0
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not member.status().exits:  # noqa: ASYNC110 - a state is asked for, as a client would
            await asyncio.sleep(0.002)
    (last,) = member.status().exits
    assert (last.expected, last.signal) == (False, signal.SIGKILL), (
        "it is not the agent's child, and yet known"
    )


async def test_what_happened_without_an_agent_is_recorded_by_the_next(
    other_agent: MakeOther, make_member: MakeMember, any_version: str
) -> None:
    agent = other_agent("start", member_spec(any_version).model_dump_json())
    agent.kill()
    os.kill(int(agent.said), signal.SIGSEGV)
    await asyncio.sleep(0.2)
    member = await make_member()
    assert member.state is MemberState.EXITED
    (last,) = member.status().exits
    assert not last.expected
    assert (last.code, last.signal) != (None, None)
    assert last.log_tail
    member = await make_member()
    assert member.status().exits_total == 1, "once"


async def test_an_agent_that_dies_between_launch_and_record(
    other_agent: MakeOther, make_member: MakeMember, settings: AgentSettings, any_version: str
) -> None:
    agent = other_agent("start", member_spec(any_version).model_dump_json())
    agent.kill()
    path = settings.state_dir / "member.json"
    save_record(path, load_record(path).model_copy(update={"process": None, "launching": True}))
    member = await make_member()
    assert member.status().pid == int(agent.said)
    assert member.state is MemberState.RUNNING


async def test_an_agent_that_dies_while_it_ends_the_member(
    other_agent: MakeOther, make_member: MakeMember, settings: AgentSettings, any_version: str
) -> None:
    agent = other_agent("start", member_spec(any_version).model_dump_json())
    agent.kill()
    path = settings.state_dir / "member.json"
    ending = {"cause": "fault f1", "signals": (int(signal.SIGKILL),)}
    record = load_record(path).model_dump() | {"ending": ending}
    save_record(path, type(load_record(path)).model_validate(record))
    os.kill(int(agent.said), signal.SIGKILL)
    await asyncio.sleep(0.2)
    member = await make_member()
    assert member.state is MemberState.STOPPED
    assert member.status().exits[-1].cause == "fault f1"


async def test_an_agent_that_dies_in_the_middle_of_a_stop(
    other_agent: MakeOther, make_member: MakeMember, settings: AgentSettings, any_version: str
) -> None:
    member = await make_member()
    pid = (await member.start(member_spec(any_version))).pid
    assert pid is not None
    member.close()
    agent = other_agent("begin", fault(StopFault(grace_seconds=60)))
    os.kill(pid, signal.SIGSTOP)  # a member that is slow to end: SIGTERM waits for SIGCONT
    async with asyncio.timeout(PATIENCE_SECONDS):
        while load_record(settings.state_dir / "member.json").ending is None:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.01)
    agent.kill()
    member = await make_member()
    faults = FaultManager(settings, member, audit(settings))
    (undone,) = await faults.adopt()
    assert undone.state is FaultState.HEALED
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(0.5)
    assert member.state is MemberState.RUNNING, "what was undone stays undone"
    assert member.process is not None
    os.kill(member.process.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while member.state is MemberState.RUNNING:  # noqa: ASYNC110 - a state is asked for, as a client would
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert not member.status().exits[-1].expected, "a stop that is over explains no later end"


async def test_one_agent_at_a_time(other_agent: MakeOther, settings: AgentSettings) -> None:
    agent = other_agent("idle")
    with pytest.raises(UnavailableError, match="in use by process"):
        await heal_host(settings, audit(settings), who="test", expired_only=False)
    agent.kill()
    assert await heal_host(settings, audit(settings), who="test", expired_only=False) == ()


async def test_a_fault_goes_on_under_the_next_agent(
    other_agent: MakeOther, make_member: MakeMember, settings: AgentSettings, any_version: str
) -> None:
    member = await make_member()
    await member.start(member_spec(any_version))
    process = member.process
    assert process is not None
    member.close()
    agent = other_agent("fault", fault(PauseFault()))
    assert agent.said == "injected"
    agent.kill()
    member = await make_member()
    assert member.state is MemberState.PAUSED
    faults = FaultManager(settings, member, audit(settings))
    assert await faults.adopt() == ()
    assert is_stopped(process)
    assert (await faults.heal("f1", "test")).state is FaultState.HEALED
    assert not is_stopped(process)
    assert member.process == process


@pytest.mark.parametrize("spec", [KillFault(), PauseFault()])
async def test_healed_from_outside_with_the_agent_dead(
    other_agent: MakeOther,
    make_member: MakeMember,
    settings: AgentSettings,
    any_version: str,
    spec: FaultSpec,
) -> None:
    member = await make_member()
    await member.start(member_spec(any_version))
    member.close()
    agent = other_agent("fault", fault(spec))
    agent.kill()
    assert await heal_host(settings, audit(settings), who="test", expired_only=True) == (), "it has time left"
    (healed,) = await heal_host(settings, audit(settings), who="test", expired_only=False)
    assert (healed.state, healed.healed_by) == (FaultState.HEALED, "heal-command")
    assert await heal_host(settings, audit(settings), who="test", expired_only=False) == ()
    member = await make_member()
    assert member.state is MemberState.RUNNING
    assert member.process is not None
    assert is_alive(member.process)
    assert not is_stopped(member.process)
