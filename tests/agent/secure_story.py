"""A round on a cluster with TLS and users, as the tester drives it: ``python -m ... DIRECTORY VERSION SCENARIO``.

A process of its own: gRPC's threads would keep the namespace of whoever came first. ``DIRECTORY`` has a directory per
host, as ``hosts_of`` makes them. What was seen is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

from agent_client import AgentClient
from agent_client.tls import ClientTls
from tester.case import CaseRunner
from tester.clock import RunClock
from tester.events import EventBus
from tester.faults import Scene
from tester.history.reader import read_history
from tester.history.records import Fail, Info, Ok
from tester.inventory import Host, Identity, Inventory
from tester.phases import Phases
from tester.plan import make_plan
from tester.rundir import RoundDirectory
from tester.scenario.model import Scenario
from tester.stage import RoundSetting, Stage, open_stage

PEM = b"PRIVATE KEY"
# Windows of the load are of a tenth of a second: the write after a case must not count into its hold.
SHORT = {"steady": "300ms", "hold": "300ms", "settle": "200ms"}


async def load_and_restart(stage: Stage, seen: dict[str, Any]) -> None:
    """Load, and amid it the leader dies, and with it every token that it knew."""
    await stage.look_on(1.0)
    leader = stage.monitor.view().leader
    assert leader is not None
    await stage.setting.agents[leader].kill()
    await stage.look_on(0.3)
    await stage.setting.agents[leader].restart()
    await stage.monitor.wait_serving(30)
    await stage.monitor.wait_writes(30)
    await stage.look_on(1.0)
    seen["checks"] = {check.checker: check.verdict for check in await stage.check("round", "round")}
    seen["checks"] |= {check.checker: check.verdict for check in await stage.check("case", "case")}


async def run_cases(stage: Stage, directory: Path, seen: dict[str, Any]) -> None:
    """The scenario's cases as the tester runs them."""
    setting = stage.setting
    scene = Scene(
        setting.run, 1, setting.plan.hosts, setting.agents, setting.bus, setting.clock, directory, directory
    )
    for case in setting.plan.cases(1):
        end = await CaseRunner(stage, scene, case, lambda _: Random(1), lambda _: Random(1)).run()
        seen["cases"][case.name] = [end.result.state, end.result.reason, end.result.during.ok > 0]


def files_with(directory: Path, secret: bytes) -> list[str]:
    """Without what etcd itself writes: its log of entries has users and passwords in plain."""
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and "data" not in path.relative_to(directory).parts and secret in path.read_bytes()
    )


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def look_for_secrets(directory: Path, stage: Stage, seen: dict[str, Any]) -> None:
    seen["keys"] = files_with(directory, PEM)
    keys = directory.rglob("member.key")
    seen["modes"] = sorted(f"{stat.S_IMODE(key.stat().st_mode):o}" for key in keys)
    logins = [login for login in (stage.security.root, stage.security.load) if login is not None]
    passwords = [login.password.encode() for login in logins]
    seen["passwords"] = [name for password in passwords for name in files_with(directory, password)]
    lines = command_lines()
    seen["argv"] = sum(secret in line for secret in (PEM, *passwords) for line in lines)


async def story(directory: Path, version: str, settings: dict[str, object]) -> dict[str, Any]:
    hosts = tuple(
        Host(name, f"10.209.0.{number}", 9027, 2379, 2380, (version,), version, None)
        for number, name in enumerate(("h1", "h2", "h3"), 1)
    )
    scenario = Scenario.model_validate(
        {
            "name": "secure",
            "cases": [{"name": "still", "faults": [], "load": False, **SHORT}],
            **settings,
            "stressers": [
                {"kind": "kv", "preset": "register", "clients": 6, "rate": "300/s", "timeout": "1s"},
                {"kind": "kv", "preset": "kubernetes", "clients": 3, "rate": "100/s", "timeout": "1s"},
            ],
        }
    )
    identity = Identity(directory, directory, directory)
    plan = make_plan(scenario, Inventory(directory, hosts, identity), seed=1)
    clock, bus = RunClock(), EventBus()
    seen: dict[str, Any] = {"cases": {}}
    async with AsyncExitStack() as stack:
        agents = {}
        for host in hosts:
            own = directory / host.name
            tls = ClientTls(ca=own / "ca.crt", certificate=own / "tester.crt", key=own / "tester.key")
            agents[host.name] = await stack.enter_async_context(AgentClient(host.agent_url, tls=tls))
        rounds = directory / "001"
        rounds.mkdir()
        setting = RoundSetting(1, "run", plan, agents, clock, bus, RoundDirectory(rounds))
        try:
            async with open_stage(setting, Phases(clock, bus, 1)) as stage:
                await run_cases(stage, directory, seen)
                await load_and_restart(stage, seen)
                await asyncio.to_thread(look_for_secrets, directory, stage, seen)
                seen["urls"] = (await agents["h1"].member()).spec.client_url  # type: ignore[union-attr]
        finally:
            for agent in agents.values():
                await agent.terminate()
    seen["left"] = [name for name in files_with(directory, PEM) if name not in seen_before(directory)]
    records = list(read_history(rounds / "history.jsonl"))
    seen["ok"] = sum(isinstance(record, Ok) for record in records)
    seen["errors"] = Counter(record.text for record in records if isinstance(record, Fail | Info))
    return seen


def seen_before(directory: Path) -> set[str]:
    """Keys of the agents themselves."""
    return {f"{host}/{name}.key" for host in ("h1", "h2", "h3") for name in ("agent", "tester")}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(story(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))))
