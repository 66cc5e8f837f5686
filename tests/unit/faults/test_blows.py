"""Blows against agents and hosts, and scripts of the user's, driven from the controller."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_service.models import FaultState
from tester.errors import FaultIneffectiveError, HealError
from tester.events import FaultHealed, FaultInjected, Progress
from tester.faults import blows
from tester.faults.blows import BlowFault
from tester.faults.drivers import driver
from tester.faults.external import ExternalFault
from tester.orchestration.scripts import ScriptError, run_script
from tests.unit.faults.agents import refused
from tests.unit.faults.stage import QUICK, Stage
from tests.unit.scenario.cases import fault as section

if TYPE_CHECKING:
    from pathlib import Path

    from tester.faults.drivers import Driver
    from tester.faults.scene import Scene


async def whole() -> bool:
    return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blows, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(blows, "_FALL_POLL_SECONDS", 0.01)
    monkeypatch.setattr(blows, "_PROGRESS_SECONDS", 0.0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage()
    made.outputs = tmp_path / "scripts"
    return made


def drive(stage: Stage, kind: str, scene: Scene | None = None, **keys: object) -> Driver:
    return driver(section(kind, **keys), "c", scene or stage.scene(), QUICK, asyncio.Event())


async def hit(made: Driver, *members: str) -> None:
    await made.inject(members, whole, {})


async def test_a_host_that_reboots_is_waited_for(stage: Stage) -> None:
    agent = stage.agents["h2"]
    agent.silent = 3  # one question while it falls, two while it boots
    reboot = drive(stage, "reboot")
    assert isinstance(reboot, BlowFault)
    await hit(reboot, "h2")
    assert reboot.targets == ("h2",)
    await reboot.heal()
    assert reboot.held_seconds is not None
    assert agent.clean
    assert next(event.text for event in stage.seen(Progress)).startswith("waiting for h2 for 0 s: ")
    assert len(stage.seen(FaultInjected)) == len(stage.seen(FaultHealed)) == 1
    await reboot.heal()
    assert len(stage.seen(FaultHealed)) == 1, "once"


async def test_a_blow_that_never_fell_is_an_error(stage: Stage) -> None:
    agent = stage.agents["h2"]
    agent.silent, agent.heal_state = 1, FaultState.FAILED
    reboot = drive(stage, "reboot")
    await hit(reboot, "h2")
    with pytest.raises(FaultIneffectiveError, match=r"host h2: .* had no effect"):
        await reboot.heal()
    await reboot.heal()


async def test_a_host_that_does_not_come_back_is_not_healed(stage: Stage) -> None:
    stage.agents["h2"].silent = 10**6
    reboot = drive(stage, "reboot", back="5s")
    reboot._fault = reboot._fault.model_copy(update={"back": 0.1})  # type: ignore[attr-defined]
    await hit(reboot, "h2")
    with pytest.raises(HealError, match=r"host h2: its agent is not back after 0\.1 s"):
        await reboot.heal()
    stage.agents["h2"].silent = 0
    await reboot.heal()
    assert stage.clean


async def test_an_agent_that_refuses_is_an_error_and_the_others_are_waited_for(stage: Stage) -> None:
    stage.agents["h1"].inject_fails = refused(503, "no systemd here")
    kill = drive(stage, "agent-kill")
    with pytest.raises(FaultIneffectiveError, match="no systemd here"):
        await hit(kill, "h1", "h2")
    assert stage.clean
    assert kill.targets == ("h1", "h2")


# --- power ------------------------------------------------------------------------------------------------------


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def lit(stage: Stage, script: str) -> Scene:
    scene = stage.scene()
    return replace(scene, hosts=tuple(replace(host, power_on=script) for host in scene.hosts))


async def test_a_host_is_switched_on_before_it_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    script = program(tmp_path / "on", f'echo "switching $1" && touch {tmp_path}/$1.on')
    stage.agents["h3"].silent = 2
    off = drive(stage, "power-off", lit(stage, script))
    await hit(off, "h3")
    assert not (tmp_path / "h3.on").exists()
    await off.heal()
    assert (tmp_path / "h3.on").exists()
    assert (stage.outputs / "power-on-h3.log").read_text() == f"$ {script} h3\nswitching h3\n"


async def test_a_host_still_on_its_way_down_is_switched_on_again(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blows, "_SWITCH_SECONDS", 0.0)
    script = program(tmp_path / "on", f"echo on >> {tmp_path}/calls")
    stage.agents["h3"].silent = 3
    off = drive(stage, "power-off", lit(stage, script))
    await hit(off, "h3")
    await off.heal()
    assert (tmp_path / "calls").read_text().split() == ["on", "on", "on"]


async def test_nobody_switches_off_what_nobody_can_switch_on(stage: Stage) -> None:
    off = drive(stage, "power-off")
    with pytest.raises(FaultIneffectiveError, match="nobody could switch h1 on again"):
        await hit(off, "h1")
    assert stage.log == []
    await off.heal()


async def test_a_switch_that_fails_is_not_healed(stage: Stage, tmp_path: Path) -> None:
    off = drive(stage, "power-off", lit(stage, program(tmp_path / "on", "echo no fuse; exit 3")))
    stage.agents["h3"].silent = 1
    await hit(off, "h3")
    with pytest.raises(HealError, match=r"host h3: .*status 3: no fuse"):
        await off.heal()


# --- scripts ----------------------------------------------------------------------------------------------------


async def test_a_script_is_enabled_and_disabled_with_the_round(stage: Stage, tmp_path: Path) -> None:
    script = program(tmp_path / "break", f'echo "$@" >> {tmp_path}/calls; echo out; echo err >&2')
    external = drive(stage, "external", script=script)
    assert isinstance(external, ExternalFault)
    await hit(external, "h1")
    await external.heal()
    await external.heal()
    assert (tmp_path / "calls").read_text() == "enable 2\ndisable 2\n"
    assert (stage.outputs / "external-c.log").read_text() == (
        f"$ {script} enable 2\nout\nerr\n$ {script} disable 2\nout\nerr\n"
    )
    assert external.targets == ()
    assert external.held_seconds is not None
    assert stage.log == [], "no agent has a part in it"


async def test_a_script_beside_the_user(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``./break`` is in the folder that the run is started from, and in no PATH."""
    monkeypatch.chdir(tmp_path)
    program(tmp_path / "break", "echo $1 >> calls")
    external = drive(stage, "external", script="./break")
    await hit(external, "h1")
    await external.heal()
    assert (tmp_path / "calls").read_text() == "enable\ndisable\n"


async def test_a_script_that_fails_is_disabled_all_the_same(stage: Stage, tmp_path: Path) -> None:
    text = f'echo $1 >> {tmp_path}/calls; echo it is broken; [ "$1" = disable ]'
    external = drive(stage, "external", script=program(tmp_path / "break", text))
    with pytest.raises(FaultIneffectiveError, match="enable 2 ended with status 1: it is broken"):
        await hit(external, "h1")
    assert (tmp_path / "calls").read_text() == "enable\ndisable\n"
    assert stage.seen(FaultInjected) == stage.seen(FaultHealed) == []


async def test_a_script_that_does_not_disable_is_not_healed(stage: Stage, tmp_path: Path) -> None:
    external = drive(stage, "external", script=program(tmp_path / "break", '[ "$1" = enable ]'))
    await hit(external, "h1")
    with pytest.raises(HealError, match="disable 2 ended with status 1") as caught:
        await external.heal()
    assert caught.value.remedy == f"run: {tmp_path}/break disable 2"
    program(tmp_path / "break", "true")
    await external.heal()


async def test_a_script_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    external = drive(stage, "external", script=str(tmp_path / "nothing"))
    with pytest.raises(FaultIneffectiveError, match="nothing: No such file"):
        await hit(external, "h1")
    await external.heal()  # of what never happened


async def test_a_script_never_called_is_never_disabled(stage: Stage, tmp_path: Path) -> None:
    await drive(stage, "external", script=str(tmp_path / "nothing")).heal()


async def test_a_script_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    script = program(tmp_path / "hang", f"sleep 600 &\necho $! > {tmp_path}/child\necho waiting\nwait")
    with pytest.raises(ScriptError, match=r"took more than 0\.5 s: waiting"):
        await run_script((script,), tmp_path / "log", 0.5)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 20
    while _lives(child):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_arguments_are_never_a_shells(tmp_path: Path) -> None:
    script = program(tmp_path / "say", 'printf "%s|" "$@"')
    await run_script((script, "; touch x", "$(id)", "a b"), tmp_path / "log", 10)
    assert (tmp_path / "log").read_text().endswith("; touch x|$(id)|a b|")
