"""A damaged record of the member keeps nothing from healing but what is the member's own."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from agent_service.audit import AuditLog
from agent_service.errors import UnavailableError
from agent_service.faults.heal import heal_host
from agent_service.faults.manager import FaultManager
from agent_service.models import (
    FaultSpec,
    FaultState,
    IsolateFault,
    KillFault,
    MemberState,
    PauseFault,
    Peer,
)
from agent_service.processes import is_stopped
from tests.agent.member.test_member_faults import request, tables
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from agent_service.member import MemberControl
    from agent_service.settings import AgentSettings
    from tests.agent.member.conftest import MakeMember

pytestmark = pytest.mark.etcd

ISOLATE = IsolateFault(peer_port=2380, peers=(Peer(address="127.0.0.1", port=12380),))


async def hold(settings: AgentSettings, member: MemberControl, *specs: FaultSpec) -> AuditLog:
    audit = AuditLog(settings.state_dir / "audit.jsonl")
    faults = FaultManager(settings, member, audit)
    await faults.adopt()
    for spec in specs:
        await faults.inject(request(spec, spec.kind), "tester")
    return audit


async def test_traffic_and_pause_are_healed_without_it(
    make_member: MakeMember, settings: AgentSettings, any_version: str
) -> None:
    member = await make_member()
    await member.start(member_spec(any_version))
    process = member.process
    audit = await hold(settings, member, ISOLATE, PauseFault())
    assert process is not None
    assert (is_stopped(process), tables()) == (True, ["etcd_chaos_isolate"]), "the control"
    record = settings.state_dir / "member.json"
    record.write_bytes(b"{")
    member.close()
    healed = await heal_host(settings, audit, who="test", expired_only=False)
    assert {fault.id: fault.state for fault in healed} == {
        "pause": FaultState.HEALED,
        "isolate": FaultState.HEALED,
    }
    assert (is_stopped(process), tables()) == (False, [])
    assert record.read_bytes() == b"{", "left for a person to look at"
    os.kill(process.pid, signal.SIGKILL)


async def test_an_agent_serves_on_and_says_what_it_cannot_do(
    make_member: MakeMember, settings: AgentSettings, any_version: str
) -> None:
    member = await make_member()
    await member.start(member_spec(any_version))
    await hold(settings, member, KillFault())
    record = settings.state_dir / "member.json"
    sound = record.read_bytes()
    record.write_bytes(sound[:-1])
    blind = await make_member()
    faults = FaultManager(settings, blind, AuditLog(settings.state_dir / "audit.jsonl"))
    await faults.adopt()
    status = await faults.heal("kill", "tester")
    assert status.state is FaultState.HEAL_FAILED, "nobody can know whether etcd runs"
    assert "member.json is damaged" in status.evidence
    with pytest.raises(UnavailableError, match=r"member\.json is damaged"):
        await blind.start(member_spec(any_version))
    with pytest.raises(UnavailableError, match=r"member\.json is damaged"):
        blind.status()
    assert (await faults.inject(request(ISOLATE, "cut"), "tester")).state is FaultState.INJECTED
    assert (await faults.heal("cut", "tester")).state is FaultState.HEALED
    record.write_bytes(sound)
    repaired = FaultManager(settings, await make_member(), AuditLog(settings.state_dir / "audit.jsonl"))
    assert [fault.state for fault in await repaired.adopt()] == [FaultState.HEALED]
    assert (await make_member()).state is MemberState.RUNNING
