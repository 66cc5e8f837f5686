from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_client.errors import AgentUnreachableError
from agent_service.models import FaultState, FaultStatus, KillFault
from tester.cli.entry import run_command
from tester.errors import AnsibleError, ExitCode, HealError
from tester.healing import Healed, heal_hosts
from tester.orchestration.plays import PlayError, PlayOutcome, TaskFailure
from tester.session import Session
from tests.unit.scenario.hosts import inventory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tester.inventory import Inventory


def status(state: FaultState, name: str = "f1") -> FaultStatus:
    return FaultStatus(
        id=name,
        spec=KillFault(),
        state=state,
        reason="",
        undo=(),
        evidence="seen",
        injected_monotonic_ns=None,
        healed_monotonic_ns=None,
        lease_remaining_seconds=0,
        healed_by=None,
    )


@dataclass
class Agent:
    before: tuple[FaultStatus, ...] = ()
    after: tuple[FaultStatus, ...] = ()
    away: bool = False

    async def faults(self) -> tuple[FaultStatus, ...]:
        if self.away:
            raise AgentUnreachableError("agent X: no answer")
        return self.before

    async def heal_all(self) -> tuple[FaultStatus, ...]:
        return self.after


def outcome(*failures: TaskFailure, unreachable: tuple[str, ...] = ()) -> PlayOutcome:
    return PlayOutcome("heal", {}, unreachable, failures, 0.1, Path("out"))


@dataclass
class Plays:
    answer: PlayOutcome | Exception = field(default_factory=outcome)
    limits: list[tuple[str, ...]] = field(default_factory=list)

    async def run(self, playbook: str, *, limit: Sequence[str] = ()) -> PlayOutcome:
        assert playbook == "heal"
        self.limits.append(tuple(limit))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


HEALED = Agent(before=(status(FaultState.INJECTED),), after=(status(FaultState.HEALED),))


async def test_agents_heal_and_ssh_is_left_alone() -> None:
    plays = Plays()
    old = Agent(before=(status(FaultState.HEALED),), after=(status(FaultState.HEALED),))
    healed = await heal_hosts(inventory(3), {"h1": HEALED, "h2": Agent(), "h3": old}, plays)
    assert healed == (Healed("h1", "agent", ("f1",)), Healed("h2", "agent"), Healed("h3", "agent"))
    assert plays.limits == []


async def test_hosts_without_agent_are_healed_over_ssh() -> None:
    plays = Plays()
    stuck = Agent(before=(status(FaultState.INJECTED),), after=(status(FaultState.HEAL_FAILED),))
    healed = await heal_hosts(inventory(3), {"h1": Agent(away=True), "h2": HEALED, "h3": stuck}, plays)
    assert [(one.host, one.how) for one in healed] == [
        ("h1", "playbook"),
        ("h2", "agent"),
        ("h3", "playbook"),
    ]
    assert plays.limits == [("h1", "h3")]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (outcome(unreachable=("h1",)), "over ssh: unreachable"),
        (outcome(TaskFailure("h1", "Heal", "no space")), "over ssh: Heal: no space"),
        (PlayError("time ran out", outcome=outcome()), "the play failed, here or elsewhere: time ran out"),
        (AnsibleError("Ansible did not run"), "over ssh: Ansible did not run"),
    ],
)
async def test_a_host_that_nobody_can_heal(answer: PlayOutcome | Exception, told: str) -> None:
    with pytest.raises(HealError) as caught:
        await heal_hosts(inventory(2), {"h1": Agent(away=True), "h2": HEALED}, Plays(answer))
    assert caught.value.message.startswith("host h1: its agent: agent X: no answer; ")
    assert told in caught.value.message
    assert "h2" not in caught.value.message
    assert caught.value.remedy == "log in to each and run: etcd-chaos-agent heal"


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agents = {"h1": HEALED, "h2": Agent(), "h3": Agent(away=True)}
    plays = Plays()

    @asynccontextmanager
    async def open_session(source: Path, on_progress: object, *, healing: bool) -> AsyncIterator[Session]:
        assert healing
        yield Session(inventory(3), plays)  # type: ignore[arg-type]

    @asynccontextmanager
    async def connect(subject: Inventory) -> AsyncIterator[dict[str, Agent]]:
        yield agents

    monkeypatch.setattr("tester.cli.heal.open_session", open_session)
    monkeypatch.setattr("tester.cli.heal.connect", connect)
    assert run_command(["heal", "-i", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "h1: healed f1",
        "h2: nothing to heal",
        "h3: healed over ssh, its agent did not answer",
    ]
    plays.answer = outcome(unreachable=("h3",))
    assert run_command(["heal", "-i", str(tmp_path)]) == ExitCode.UNHEALED
