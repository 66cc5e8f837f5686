from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agent_client.errors import AgentUnreachableError
from agent_service.models import EmergencyStop
from tester.cli.entry import run_command
from tester.emergency import stop_hosts
from tester.errors import AgentError, ExitCode
from tester.session import Session
from tests.unit.cli.test_heal import Agent, Plays
from tests.unit.scenario.hosts import inventory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tester.inventory import Inventory
    from tester.orchestration.plays import PlayOutcome


@dataclass
class Stoppable(Agent):
    stop: EmergencyStop = field(default_factory=lambda: EmergencyStop(engaged=False))

    async def emergency(self) -> EmergencyStop:
        if self.away:
            raise AgentUnreachableError("agent X: no answer")
        return self.stop

    async def emergency_stop(self, reason: str) -> EmergencyStop:
        if self.away:
            raise AgentUnreachableError("agent X: no answer")
        self.stop = EmergencyStop(engaged=True, who="tester", reason=reason)
        return self.stop

    async def clear_emergency_stop(self) -> EmergencyStop:
        self.stop = EmergencyStop(engaged=False)
        return self.stop


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> dict[str, Stoppable]:
    made = {name: Stoppable() for name in ("h1", "h2", "h3")}

    @asynccontextmanager
    async def open_session(source: Path, on_progress: object, *, healing: bool) -> AsyncIterator[Session]:
        assert healing, "hosts that were taken off limits meanwhile are stopped, too"
        yield Session(inventory(3), Plays())  # type: ignore[arg-type]

    @asynccontextmanager
    async def connect(subject: Inventory) -> AsyncIterator[dict[str, Stoppable]]:
        yield made

    monkeypatch.setattr("tester.cli.emergency.open_session", open_session)
    monkeypatch.setattr("tester.cli.emergency.connect", connect)
    return made


def test_stop_and_clear(
    agents: dict[str, Stoppable], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["stop", "-i", str(tmp_path), "--reason", "prod is down"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"h{n}: stopped; nothing is left" for n in (1, 2, 3)]
    assert {agent.stop.reason for agent in agents.values()} == {"prod is down"}
    agents["h2"].stop = EmergencyStop(engaged=False)
    assert run_command(["clear", "-i", str(tmp_path)]) == 0
    cleared = "cleared (was stopped by tester: prod is down)"
    assert capsys.readouterr().out.splitlines() == [
        f"h1: {cleared}",
        "h2: was not stopped",
        f"h3: {cleared}",
    ]
    assert not any(agent.stop.engaged for agent in agents.values())


def test_a_host_that_does_not_answer_is_named(
    agents: dict[str, Stoppable], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agents["h3"].away = True
    assert run_command(["stop", "-i", str(tmp_path)]) == ExitCode.INFRASTRUCTURE
    assert "host h3: not stopped: agent X: no answer" in capsys.readouterr().err
    assert agents["h1"].stop.engaged, "the others are stopped"
    assert run_command(["clear", "-i", str(tmp_path)]) == ExitCode.INFRASTRUCTURE


async def test_a_host_without_an_agent_is_healed_over_ssh() -> None:
    plays = Plays()
    fleet = {"h1": Stoppable(), "h2": Stoppable(away=True)}
    with pytest.raises(AgentError, match="host h2: not stopped"):
        await stop_hosts(inventory(2), fleet, plays, "")
    assert plays.limits == [("h2",)]


async def test_an_agent_that_healing_brought_back_is_stopped_as_well() -> None:
    fleet = {"h1": Stoppable(), "h2": Stoppable(away=True)}

    class Reviving(Plays):
        """As the playbook does: it ends with the agent started again."""

        async def run(self, playbook: str, *, limit: Sequence[str] = ()) -> PlayOutcome:
            outcome = await super().run(playbook, limit=limit)
            fleet["h2"].away = False
            return outcome

    healed = await stop_hosts(inventory(2), fleet, Reviving(), "prod is down")
    assert [(one.host, one.how) for one in healed] == [("h1", "agent"), ("h2", "playbook")]
    assert {agent.stop.reason for agent in fleet.values() if agent.stop.engaged} == {"prod is down"}
    assert all(agent.stop.engaged for agent in fleet.values())


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 501])
def test_a_reason_is_one_short_line(agents: dict[str, Stoppable], tmp_path: Path, reason: str) -> None:
    assert run_command(["stop", "-i", str(tmp_path), "--reason", reason]) == ExitCode.USAGE
    assert not any(agent.stop.engaged for agent in agents.values())
