"""The emergency stop, on a member that is a sleeping process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent_service.audit import AuditLog
from agent_service.emergency import FILE, EmergencyBrake, read_stop
from agent_service.errors import IllegalStateError, UnavailableError
from agent_service.faults.manager import FaultManager
from agent_service.faults.registry import capabilities
from agent_service.models import FaultRequest, FaultState, KillFault
from tests.unit.member.fake_member import FakeMember
from tests.unit.member.settings import agent_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def member() -> Iterator[FakeMember]:
    fake = FakeMember()
    fake.launch()
    yield fake
    fake.end()


class Host:
    """An agent's faults and brake; made again, it is the next agent of the same host."""

    def __init__(self, base: Path, member: FakeMember) -> None:
        self.settings = agent_settings(base)
        self.state_dir = self.settings.state_dir
        self.state_dir.mkdir(exist_ok=True)
        self.audit = AuditLog(self.state_dir / "audit.jsonl")
        self.faults = FaultManager(self.settings, member.as_control(), self.audit)
        self.brake = EmergencyBrake(self.state_dir, self.faults, self.audit)


@pytest.fixture
async def host(tmp_path: Path, member: FakeMember) -> Host:
    made = Host(tmp_path, member)
    await made.faults.adopt()
    return made


def request(fault_id: str = "f1") -> FaultRequest:
    return FaultRequest(id=fault_id, spec=KillFault(), lease_seconds=600, reason="test")


async def test_a_stop_heals_and_refuses_until_it_is_cleared(host: Host, member: FakeMember) -> None:
    await host.faults.inject(request(), "tester")
    stop = await host.brake.engage("prod is down", "alice")
    assert stop.engaged
    assert [(fault.id, fault.state, fault.healed_by) for fault in stop.faults] == [
        ("f1", FaultState.HEALED, "emergency-stop")
    ]
    assert member.lives()
    with pytest.raises(IllegalStateError, match="emergency stop by alice: prod is down") as caught:
        await host.faults.inject(request("f2"), "tester")
    assert caught.value.state == "emergency-stop"
    assert member.calls == ["kill", "recover"]
    assert [fault.id for fault in host.faults.list()] == ["f1"], "a refused fault leaves no trace"
    assert (await host.brake.clear("bob")).engaged is False
    assert (await host.faults.inject(request("f2"), "tester")).state is FaultState.INJECTED
    told = [(entry.who, entry.what) for entry in host.audit.read(20) if entry.what.startswith("emergency")]
    assert told == [("alice", "emergency stop"), ("bob", "emergency clear")]


async def test_a_stop_outlives_the_agent(host: Host, tmp_path: Path, member: FakeMember) -> None:
    await host.brake.engage("why", "alice")
    successor = Host(tmp_path, member)
    await successor.faults.adopt()
    assert (successor.brake.status().who, successor.brake.status().reason) == ("alice", "why")
    with pytest.raises(IllegalStateError):
        await successor.faults.inject(request(), "tester")


async def test_an_injection_under_way_is_healed(host: Host, member: FakeMember) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    kill = member.kill

    async def slow(cause: str) -> None:
        begun.set()
        await gate.wait()
        await kill(cause)

    member.kill = slow  # type: ignore[method-assign]
    injecting = asyncio.create_task(host.faults.inject(request(), "tester"))
    await begun.wait()
    stopping = asyncio.create_task(host.brake.engage("now", "alice"))
    while not host.brake.status().engaged:  # noqa: ASYNC110 - a file is looked for
        await asyncio.sleep(0.001)
    gate.set()
    await injecting
    assert [fault.state for fault in (await stopping).faults] == [FaultState.HEALED]
    assert member.lives()


@pytest.mark.parametrize("text", ["", "{", '{"engaged": 7}', '{"engaged": true, "more": 1}'])
async def test_a_damaged_stop_is_a_stop(host: Host, text: str) -> None:
    (host.state_dir / FILE).write_text(text)
    assert read_stop(host.state_dir).engaged
    with pytest.raises(IllegalStateError, match="cannot be read"):
        await host.faults.inject(request(), "tester")
    await host.brake.clear("alice")
    assert (await host.faults.inject(request(), "tester")).state is FaultState.INJECTED


async def test_a_disk_that_does_not_take_the_stop_keeps_nobody_from_healing(
    host: Host, member: FakeMember
) -> None:
    await host.faults.inject(request(), "tester")
    (host.state_dir / f".{FILE}.new").mkdir()
    with pytest.raises(UnavailableError, match="cannot write"):
        await host.brake.engage("now", "alice")
    assert member.lives()


async def test_a_stopped_host_can_do_nothing_and_says_why(host: Host) -> None:
    assert any(one.available for one in await capabilities(host.settings)), "the control"
    await host.brake.engage("prod is down", "alice")
    there = await capabilities(host.settings)
    assert {one.available for one in there} == {False}
    assert {one.reason for one in there} == {
        "emergency stop by alice: prod is down; etcd-chaos clear ends it"
    }
