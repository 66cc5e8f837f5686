"""Rounds whose load runs on a host of its own: ``python -m tests.agent.load_story DIRECTORY VERSION STORY``.

A process of its own, as ``tests.agent.secure_story``. ``DIRECTORY`` has a directory per host, as ``hosts_with_load``
makes them. What was seen is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent_client import AgentClient
from agent_client.tls import ClientTls
from tester.clock import RunClock
from tester.errors import LoadError
from tester.events import EventBus, Notice
from tester.history.parts import PartsReader, files_of, part_of
from tester.history.records import ClockRecord, Fail, Info, Invoke, Ok, WatchStart
from tester.inventory import Host, Identity, Inventory
from tester.load.hosts import worker as hosted
from tester.phases import Phases
from tester.plan import make_plan
from tester.rundir import RoundDirectory
from tester.scenario.model import Scenario
from tester.stage import RoundSetting, Stage, open_stage
from tests.agent.secure_story import command_lines, files_with

NAMES = ("h1", "h2", "h3", "h4")
SCENARIO = {
    "name": "hosted",
    "workers": 2,
    "workers_on": "load",
    "cluster": {"tls": "own", "client_cert_auth": True, "auth": True, "flags": {"bcrypt-cost": "4"}},
    "stressers": [
        {"kind": "kv", "preset": "register", "clients": 6, "rate": "300/s", "timeout": "1s"},
        {"kind": "kv", "preset": "kubernetes", "clients": 3, "rate": "60/s", "timeout": "1s"},
        {"kind": "lock", "clients": 3, "rate": "30/s"},
    ],
    "cases": [{"name": "one", "faults": []}],
}


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def alive(processes: list[int]) -> list[int]:
    """Of these, after a while."""
    deadline = time.monotonic() + 20
    while (
        found := [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


async def pids(agent: AgentClient) -> list[int]:
    return [one.pid for one in await agent.load_workers() if one.pid is not None]


async def judged(stage: Stage, seen: dict[str, Any]) -> None:
    """The leader dies amid the load; then all is judged."""
    agent = stage.setting.load_agents["h4"]
    await stage.look_on(1.5)
    seen["processes"] = [status_of(pid) for pid in await pids(agent)]
    directory = Path(sys.argv[1])
    login = stage.security.load
    assert login is not None
    seen["passwords"] = await asyncio.to_thread(files_with, directory / "h4", login.password.encode())
    seen["argv"] = sum(login.password.encode() in line for line in command_lines())
    leader = stage.monitor.view().leader
    assert leader is not None
    await stage.setting.agents[leader].kill()
    await stage.look_on(0.3)
    await stage.setting.agents[leader].restart()
    await stage.monitor.wait_serving(30)
    await stage.monitor.wait_writes(30)
    await stage.look_on(1.0)
    first = await stage.check("case", "case")
    await stage.look_on(1.0)
    checks = (*first, *await stage.check("round", "round"))
    seen["checks"] = {check.checker: [check.verdict, check.message] for check in checks}
    seen["window"] = stage.load.window(0, stage.setting.clock.now()).ok
    seen["totals"] = stage.load.totals().ok


async def worker_killed(stage: Stage, seen: dict[str, Any]) -> None:
    (pid, *_) = await pids(stage.setting.load_agents["h4"])
    os.kill(pid, signal.SIGKILL)
    try:
        await stage.look_on(20)
    except LoadError as error:
        seen["error"] = error.message


async def agent_stopped(stage: Stage, seen: dict[str, Any]) -> None:
    """The agent goes, and comes back: its workers have gone with it."""
    agent = stage.setting.load_agents["h4"]
    before = await pids(agent)
    part = part_of(stage.setting.directory.history, 1)
    while not part.stat().st_size:  # some of it is here already
        await stage.look_on(0.1)
    os.kill(int(sys.argv[4]), signal.SIGKILL)
    try:
        await stage.look_on(60)
    except LoadError as error:
        seen["error"] = error.message
    seen["alive"] = await asyncio.to_thread(alive, before)


async def tester_hangs(stage: Stage, seen: dict[str, Any]) -> None:
    """Nobody asks for the workers any more, as if the tester were dead."""
    for task in asyncio.all_tasks():
        if task.get_name().startswith("load worker"):
            task.cancel()
    agent = stage.setting.load_agents["h4"]
    async with asyncio.timeout(60):
        while await pids(agent):  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.2)
    seen["ends"] = [worker.end for worker in await agent.load_workers()]
    seen["histories"] = [worker.history_bytes for worker in await agent.load_workers()]


STORIES = {
    "judged": judged,
    "worker-killed": worker_killed,
    "agent-stopped": agent_stopped,
    "tester-hangs": tester_hangs,
}


async def story(directory: Path, version: str, name: str) -> dict[str, Any]:
    hosts = tuple(
        Host(host, f"10.209.0.{number}", 9027, 2379, 2380, (version,), version, None)
        for number, host in enumerate(NAMES, 1)
    )
    identity = Identity(directory, directory, directory)
    inventory = Inventory(directory, hosts[:3], identity, hosts[3:])
    plan = make_plan(Scenario.model_validate(SCENARIO), inventory, seed=1)
    clock, bus = RunClock(), EventBus()
    seen: dict[str, Any] = {"notices": []}
    bus.subscribe(lambda event: seen["notices"].append(event.text) if isinstance(event, Notice) else None)
    if name == "tester-hangs":
        hosted.LEASE_SECONDS = 2.0  # type: ignore[misc] - no test waits for a real one
    async with AsyncExitStack() as stack:
        agents = {}
        for host in hosts:
            own = directory / host.name
            tls = ClientTls(ca=own / "ca.crt", certificate=own / "tester.crt", key=own / "tester.key")
            agents[host.name] = await stack.enter_async_context(AgentClient(host.agent_url, tls=tls))
        load = {"h4": agents.pop("h4")}
        rounds = directory / "001"
        rounds.mkdir()
        setting = RoundSetting(1, "run", plan, agents, clock, bus, RoundDirectory(rounds), load)
        try:
            async with open_stage(setting, Phases(clock, bus, 1)) as stage:
                await STORIES[name](stage, seen)
        finally:
            for agent in agents.values():
                await agent.terminate()
        if name != "agent-stopped":
            seen["left"] = [worker.id for worker in await load["h4"].load_workers()]
    history = rounds / "history.jsonl"
    seen["files"] = [path.name for path in files_of(history)]
    records = PartsReader(history).read_new()
    seen["ok"] = sum(isinstance(record, Ok) for record in records)
    seen["clients"] = len({record.c for record in records if isinstance(record, Invoke)})
    seen["watchers"] = sum(isinstance(record, WatchStart) for record in records)
    seen["clocks"] = [
        [one.host, one.offset, one.error, one.lost] for one in records if isinstance(one, ClockRecord)
    ]
    # Of operations: the end of a member is noticed, and written, a moment after it came.
    times = [record.at for record in records if isinstance(record, Invoke | Ok | Fail | Info)]
    seen["backwards"] = max((before - after for before, after in pairwise(times)), default=0)
    seen["kinds"] = Counter(type(record).__name__ for record in records)
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(story(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))))
