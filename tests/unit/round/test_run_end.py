"""A run leaves its result, whatever ended it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tester.errors import AnsibleError, ExitCode
from tester.events import Event, EventBus, RunFinished
from tester.plan import make_plan
from tester.run import Run
from tester.run_request import RunRequest
from tester.scenario.loader import load_scenario
from tests.unit.scenario.hosts import inventory

if TYPE_CHECKING:
    from pathlib import Path


class Ended(Run):
    """Its first round ends so."""

    error: Exception

    async def _run_rounds(self) -> None:
        await asyncio.sleep(0)
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [(AnsibleError("no ssh"), "no ssh"), (KeyError("here"), "a defect of etcd-chaos")],
    ids=["an error", "a defect"],
)
async def test_the_result_is_written_and_told(tmp_path: Path, error: Exception, reason: str) -> None:
    request = RunRequest(
        inventory=tmp_path / "hosts.yml",
        scenario=load_scenario("quick"),
        seed=7,
        rounds=1,
        output=tmp_path,
        json=True,
        keep_data=False,
        keep_cluster=False,
    )
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    hosts = inventory(3)
    run = Ended(request, hosts, make_plan(request.scenario.scenario, hosts, seed=7), bus)
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
