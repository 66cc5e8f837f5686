"""A round ends in order, whatever happens before its cluster stands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentUnreachableError
from tester.case import skipped
from tester.clock import RunClock
from tester.errors import AgentError, AnsibleError, ExitCode, HealError
from tester.events import CaseFinished, Event, EventBus
from tester.faults import Scene
from tester.plan import Plan
from tester.results import CaseState
from tester.round import RoundPlays, RoundRunner
from tester.rundir import RoundDirectory
from tester.scenario.loader import parse_scenario
from tester.stage import RoundSetting
from tests.unit.scenario.hosts import host

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.models import HostClock

SCENARIO = """
name: two
stressers: [{kind: kv}]
cases:
  - {name: kill-one, fault: kill}
  - {name: pause-one, fault: pause}
"""


@dataclass
class Plays:
    """What Ansible would do; each may be told to fail or to wait."""

    errors: dict[str, Exception] = field(default_factory=dict)
    waits: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, name: str):
        async def run() -> None:
            self.done.append(name)
            if name in self.waits:
                self.waiting.set()
                await asyncio.sleep(0.05 if name == "cleanup" else 60)
            if name in self.errors:
                raise self.errors[name]

        return run

    def all(self) -> RoundPlays:
        return RoundPlays(self.play("provision"), self.play("collect"), self.play("cleanup"))


class Asked:
    """Whether somebody pressed Ctrl-C."""

    def __init__(self) -> None:
        self.yes = False

    def __call__(self) -> bool:
        return self.yes


class DeadAgent:
    """Its host was powered off."""

    async def clock(self) -> HostClock:
        raise AgentUnreachableError("no answer")


def runner(
    tmp_path: Path,
    plays: Plays,
    asked: Asked,
    heard: list[Event],
    agents: dict[str, DeadAgent] | None = None,
) -> RoundRunner:
    plan = Plan(parse_scenario(SCENARIO, "two.yml"), tuple(map(host, (1, 2, 3))), 7, 1, None)
    bus, clock = EventBus(), RunClock()
    bus.subscribe(heard.append)
    directory = RoundDirectory(tmp_path / "001")
    setting = RoundSetting(1, "run", plan, agents or {}, clock, bus, directory)
    scene = Scene("run", 1, plan.hosts, {}, bus, clock, tmp_path, tmp_path / "scripts")
    return RoundRunner(setting, scene, plays.all(), asked)


async def test_a_failed_provision_skips_the_cases_and_cleans_up(tmp_path: Path) -> None:
    plays, heard = Plays(errors={"provision": AnsibleError("no ssh", remedy="look")}), []
    result = await runner(tmp_path, plays, Asked(), heard).run()
    assert plays.done == ["provision", "collect", "cleanup"]
    assert (result.error, result.remedy, result.exit_code) == ("no ssh", "look", ExitCode.INFRASTRUCTURE)
    assert [case.state for case in result.cases] == [CaseState.SKIPPED] * 2
    assert [event.result for event in heard if isinstance(event, CaseFinished)] == list(result.cases)


async def test_the_first_error_is_told_and_the_worst_code_kept(tmp_path: Path) -> None:
    plays = Plays(errors={"provision": AgentError("first"), "cleanup": HealError("still there")})
    result = await runner(tmp_path, plays, Asked(), []).run()
    assert result.error == "first"
    assert result.exit_code is ExitCode.UNHEALED


async def test_the_hosts_are_cleaned_up_even_if_collecting_has_a_defect(tmp_path: Path) -> None:
    plays = Plays(errors={"provision": AnsibleError("no ssh"), "collect": OSError(28, "No space left")})
    with pytest.raises(OSError, match="No space"):
        await runner(tmp_path, plays, Asked(), []).run()
    assert plays.done == ["provision", "collect", "cleanup"]


async def test_a_defect_of_ours_does_not_lose_the_logs(tmp_path: Path) -> None:
    plays = Plays(errors={"provision": KeyError("a defect")})
    with pytest.raises(KeyError, match="a defect"):
        await runner(tmp_path, plays, Asked(), []).run()
    assert plays.done == ["provision", "collect", "cleanup"]


async def test_an_agent_that_dies_after_provision_is_an_error_of_the_round(tmp_path: Path) -> None:
    plays, setting_agents = Plays(), {"h1": DeadAgent()}
    started = runner(tmp_path, plays, Asked(), [], setting_agents)
    (tmp_path / "001").mkdir()
    result = await started.run()
    assert "h1: no answer" in (result.error or "")
    assert result.exit_code is ExitCode.INFRASTRUCTURE
    assert plays.done == ["provision", "collect", "cleanup"]


@pytest.mark.parametrize(
    ("first", "code", "error"),
    [
        (CaseState.SKIPPED, ExitCode.INFRASTRUCTURE, "nothing was tested: every case was skipped"),
        (CaseState.PASSED, ExitCode.VALID, None),
    ],
)
async def test_a_round_whose_every_case_was_skipped_is_not_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: CaseState, code: ExitCode, error: str | None
) -> None:
    """No failpoint of all there are was reached, say."""
    plays = Plays()
    made = runner(tmp_path, plays, Asked(), [])

    async def cases() -> None:
        for case in made._planned:
            state = first if case.name == "kill-one" else CaseState.SKIPPED
            made._finish(replace(skipped(case, "etcd came by none"), state=state))

    monkeypatch.setattr(made, "_run", cases)
    result = await made.run()
    assert (result.exit_code, result.error) == (code, error)
    assert plays.done == ["cleanup"]


@pytest.mark.parametrize("during", ["provision", "cleanup"])
async def test_an_interruption_ends_the_round_in_order(tmp_path: Path, during: str) -> None:
    errors = {} if during == "provision" else {"provision": AnsibleError("no ssh")}
    plays, asked = Plays(errors=errors, waits={during}), Asked()
    task = asyncio.create_task(runner(tmp_path, plays, asked, []).run())
    await plays.waiting.wait()
    asked.yes = True
    task.cancel()
    result = await task
    assert plays.done == ["provision", "collect", "cleanup"]
    assert result.exit_code is ExitCode.INTERRUPTED
    assert {case.reason for case in result.cases} <= {"interrupted before it", "the round ended before it"}


async def test_a_cancellation_that_nobody_asked_for_goes_through_after_cleanup(tmp_path: Path) -> None:
    plays = Plays(waits={"provision"})
    task = asyncio.create_task(runner(tmp_path, plays, Asked(), []).run())
    await plays.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert plays.done == ["provision", "cleanup"]
