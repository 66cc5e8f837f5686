"""A run that goes on for long: followed from outside, killed, taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tester.errors import ExitCode
from tester.events import Notice, Phase
from tests.lab.rig import case, scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.rig import Rig


async def test_a_run_is_followed_killed_and_taken_up_again(rig: Rig, tmp_path: Path) -> None:
    written = scenario(tmp_path, case("pause", "follower"))
    options = ("--rounds", "2", "--keep-rounds", "1", "--status", "127.0.0.1:0")
    async with rig.running(written, *options) as running:
        where = (await running.until(Notice)).text.partition("/status")[0]
        await running.phase(Phase.CLEANUP)  # of the first round
        hit = await running.held()
        async with httpx.AsyncClient(base_url=where) as client:
            status = (await client.get("/status")).json()
            metrics = (await client.get("/metrics")).text
        running.process.kill()
        killed = await running.end()
    assert (status["round"], status["rounds_done"], status["phase"]) == (2, 1, "hold")
    assert [(fault["kind"], fault["member"]) for fault in status["faults"]] == [("pause", hit)]
    assert f'etcd_chaos_active_faults{{kind="pause",member="{hit}"}} 1.0' in metrics
    assert 'etcd_chaos_rounds_total{verdict="valid"} 1.0' in metrics

    directory = killed.directory
    assert directory.read_result() is None
    # At once, before the lease of the fault has ended: the next round's provision heals what it finds.
    done = await rig.cli("run", "-i", rig.inventory, "--resume", directory.path, "--exit-on-failure")
    assert done.code == ExitCode.VALID, done.out[-4000:] + done.err
    result = directory.read_result()
    assert result is not None
    assert (result.rounds_total, [one.number for one in result.rounds]) == (2, [1, 2])
    assert (directory.path / "rounds" / "002-broken-off-1" / "history.jsonl").is_file()
    assert await rig.dirt() == {}

    again = await rig.cli("run", "-i", rig.inventory, "--resume", directory.path)
    assert (again.code, "all of its 2 rounds are done" in again.err) == (ExitCode.USAGE, True)
    beside = await rig.cli("run", "-i", rig.inventory, "--resume", directory.path, "--seed", "1")
    assert (beside.code, "--seed means nothing beside it" in beside.err) == (ExitCode.USAGE, True)
