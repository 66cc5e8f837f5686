from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_client import AgentClient, AgentUnreachableError
from agent_service.models import (
    FaultState,
    FaultStatus,
    HostClock,
    HostInfo,
    KillFault,
    LoadWorkerStatus,
    MemberState,
    MemberStatus,
    Usage,
)
from tester.errors import AgentError, HealError
from tester.orchestration import agent_steps
from tester.orchestration.agent_steps import AgentStep, check, cleanup, heal, main, provision


class Agent(AgentClient):
    """Answers as told and notes what it is asked to do."""

    def __init__(
        self, *, state: MemberState = MemberState.UNINITIALIZED, faults: tuple[FaultStatus, ...] = ()
    ) -> None:
        self.state, self.standing = state, faults
        self.heals_to = FaultState.HEALED
        self.silent = 0
        self.asked: list[str] = []
        self.load: tuple[LoadWorkerStatus, ...] = ()

    async def host(self) -> HostInfo:
        if self.silent:
            self.silent -= 1
            raise AgentUnreachableError("nobody there")
        return HostInfo(
            agent_version="1.2.3", api_version=1, hostname="h", os_release="o", kernel="k", python="3.11", cpus=1,
            memory_bytes=1, supervisor="systemd", etcd_versions=("3.4.23", "3.5.16"), capabilities=(),
            clock=HostClock(boot_id="b", monotonic_ns=1, realtime_ns=1),
        )  # fmt: skip

    async def usage(self) -> Usage:
        return Usage.model_construct(disk_free_bytes=1000)

    async def member(self) -> MemberStatus:
        return MemberStatus.model_construct(state=self.state)

    async def terminate(self) -> MemberStatus:
        self.asked.append("terminate")
        self.state = MemberState.TERMINATED
        return await self.member()

    async def faults(self) -> tuple[FaultStatus, ...]:
        return self.standing

    async def load_workers(self) -> tuple[LoadWorkerStatus, ...]:
        return self.load

    async def remove_load(self, worker_id: str) -> None:
        self.asked.append(f"remove {worker_id}")

    async def heal_all(self) -> tuple[FaultStatus, ...]:
        self.asked.append("heal")
        self.standing = tuple(
            f.model_copy(update={"state": self.heals_to, "evidence": "seen"}) for f in self.standing
        )
        return self.standing


def fault(name: str, state: FaultState = FaultState.INJECTED) -> FaultStatus:
    return FaultStatus(
        id=name, spec=KillFault(), state=state, reason="r", undo=(), evidence="", injected_monotonic_ns=1,
        healed_monotonic_ns=None, lease_remaining_seconds=1, healed_by=None,
    )  # fmt: skip


def step(**changes: Any) -> AgentStep:
    values = {
        "url": "https://192.0.2.1:9027", "ca": Path("/ca"), "certificate": Path("/crt"), "key": Path("/key"),
        "expected_version": "1.2.3", "wanted_etcd": "3.5.16", "min_free_bytes": 1000, "keep_member": False,
    }  # fmt: skip
    return AgentStep(**(values | changes))


async def test_a_host_that_is_fit_and_clean_is_left_alone() -> None:
    agent = Agent()
    assert await provision(agent, step()) == []
    assert agent.asked == ["heal"]
    assert await provision(agent, step(expected_version="", wanted_etcd="")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expected_version": "9"}, "the agent has version 1.2.3, not 9"),
        ({"wanted_etcd": "3.6.0"}, "etcd 3.6.0 is not installed; there is 3.4.23, 3.5.16"),
        ({"min_free_bytes": 1001}, "1000 bytes are left"),
    ],
)
async def test_a_host_that_is_not_fit_is_refused_untouched(changes: dict[str, Any], message: str) -> None:
    agent = Agent(state=MemberState.RUNNING, faults=(fault("f"),))
    with pytest.raises(AgentError, match=message) as caught:
        await provision(agent, step(**changes))
    assert caught.value.remedy
    assert agent.asked == []


async def test_what_an_earlier_round_left_is_ended_and_told() -> None:
    agent = Agent(state=MemberState.EXITED, faults=(fault("f"), fault("old", FaultState.HEALED)))
    assert await provision(agent, step()) == ["healed f", "ended the member"]
    assert await provision(agent, step()) == []


async def test_cleanup_can_leave_the_member() -> None:
    agent = Agent(state=MemberState.RUNNING, faults=(fault("f"),))
    assert await cleanup(agent, step(keep_member=True)) == ["healed f"]
    assert agent.asked == ["heal"]


async def test_a_fault_that_stays_is_an_error_and_the_member_stays_too() -> None:
    agent = Agent(state=MemberState.RUNNING, faults=(fault("f"),))
    agent.heals_to = FaultState.HEAL_FAILED
    with pytest.raises(HealError, match="f: seen"):
        await cleanup(agent, step())
    assert agent.asked == ["heal"]
    with pytest.raises(HealError):
        await heal(agent, step())


async def test_a_check_waits_for_an_agent_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent()
    agent.silent = 2
    assert await check(agent, step()) == []
    agent.silent = 10_000
    monkeypatch.setattr(agent_steps, "_START_SECONDS", 0.0)
    with pytest.raises(AgentUnreachableError):
        await check(agent, step())


def test_the_command_tells_reason_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = step(ca=tmp_path / "ca.crt").model_dump_json().encode()
    assert main("heal", request) == 1
    said = capsys.readouterr().err.splitlines()
    assert "ca.crt" in said[0]
    assert "deploy" in said[-1]
