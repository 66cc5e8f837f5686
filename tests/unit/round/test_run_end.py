"""A run leaves its result, whatever ended it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_client.errors import AgentUnreachableError
from agent_service.models import MemberState
from tester.errors import AnsibleError, ExitCode
from tester.events import Event, EventBus, Notice, RunFinished
from tester.orchestration.plays import Playbooks
from tester.plan import make_plan
from tester.run import Run
from tester.run_request import RunRequest
from tester.scenario.loader import load_scenario
from tests.unit.scenario.hosts import inventory

if TYPE_CHECKING:
    from pathlib import Path

    from agent_client import AgentClientError


class Ended(Run):
    """Its first round ends so."""

    error: Exception

    async def _run_rounds(self) -> None:
        await asyncio.sleep(0)
        raise self.error


def request_of(folder: Path) -> RunRequest:
    return RunRequest(
        inventory=folder / "hosts.yml",
        scenario=load_scenario("quick"),
        seed=7,
        rounds=1,
        output=folder,
        json=True,
        keep_data=False,
        keep_cluster=False,
    )


def run_of(request: RunRequest, bus: EventBus, made: type[Run] = Run) -> Run:
    hosts = inventory(3)
    return made(request, hosts, make_plan(request.scenario.scenario, hosts, seed=7), bus)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(AnsibleError("no ssh"), "no ssh"), (KeyError("here"), "a defect of etcd-chaos")],
    ids=["an error", "a defect"],
)
async def test_the_result_is_written_and_told(tmp_path: Path, error: Exception, reason: str) -> None:
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    run = run_of(request_of(tmp_path), bus, Ended)
    assert isinstance(run, Ended)
    run.error = error
    if isinstance(error, AnsibleError):
        await run.run()
    else:
        with pytest.raises(KeyError):
            await run.run()
    result = run.directory.read_result()
    assert result is not None
    assert result.exit_code is ExitCode.INFRASTRUCTURE
    assert result.reason.startswith(reason)
    assert [event.result for event in heard if isinstance(event, RunFinished)] == [result]


class Agent:
    """A member in a state; what is asked of it is noted."""

    def __init__(self, state: MemberState, asked: list[str], error: AgentClientError | None = None) -> None:
        self.state, self.asked, self.error = state, asked, error

    async def member(self) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(state=self.state)

    async def quit(self) -> None:
        self.asked.append("quit")

    async def stop(self) -> None:
        self.asked.append("stop")

    async def archive(self, label: str, *, data: bool) -> None:
        self.asked.append(f"archive {data}")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, ["quit", "collect"]),
        ({"keep_data": True}, ["quit", "stop", "archive True", "stop", "archive True", "collect"]),
        ({"keep_cluster": True}, ["collect"]),
    ],
)
async def test_members_that_run_write_their_stacks_before_logs_are_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool], wanted: list[str]
) -> None:
    done: list[str] = []

    async def play(_self: Playbooks, name: str, **_options: object) -> None:
        done.append(name)

    monkeypatch.setattr(Playbooks, "run", play)
    run = run_of(replace(request_of(tmp_path), **options), EventBus())
    agents = {"h1": Agent(MemberState.RUNNING, done), "h2": Agent(MemberState.EXITED, done)}
    await run._plays(run.directory.make_round(1), cast("Any", agents)).collect()
    assert sorted(done[:-1]) == sorted(wanted[:-1])
    assert (done[0], done[-1]) == (wanted[0], wanted[-1])


async def test_logs_are_collected_of_a_host_whose_agent_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def play(_self: Playbooks, name: str, **_options: object) -> None:
        done.append(name)

    monkeypatch.setattr(Playbooks, "run", play)
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    run = run_of(request_of(tmp_path), bus)
    silent = Agent(MemberState.RUNNING, done, AgentUnreachableError("no answer"))
    agents = {"h1": silent, "h2": Agent(MemberState.RUNNING, done)}
    await run._plays(run.directory.make_round(1), cast("Any", agents)).collect()
    assert done == ["quit", "collect"]
    assert [event.text for event in heard if isinstance(event, Notice)] == [
        "logs without stacks: h1: no answer"
    ]
