"""The tool on hosts of a lab, used as a person uses it: by its commands, its playbooks and its files."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import yaml

from tester.console.jsonlines import decode_event
from tester.errors import ExitCode
from tester.events import Event, FaultInjected, Notice, Phase, PhaseStarted, RunFinished, RunStarted
from tester.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from tester.orchestration.lab import Lab
    from tester.results import RunResult

E = TypeVar("E", bound=Event)

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 600.0
"""Seconds until a test gives up on a command; generous: nothing here is about speed."""

_CLI = (sys.executable, "-c", "from tester.cli import main; main()")
_LOOK = (Path(__file__).parent / "look.py").read_text(encoding="utf-8")
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s", re.MULTILINE)
_LINE_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Played(Done):
    """A playbook that has ended."""

    @property
    def changed(self) -> dict[str, int]:
        """Tasks that changed something, by host."""
        return {host: int(count) for host, count in _RECAP.findall(self.out)}


class Look(msgspec.Struct, frozen=True):
    """What this tool could leave on a host, as ``look.py`` found it."""

    tables: list[str]
    rules: list[str]
    """Everything in nftables, whoever put it there."""
    queues: list[str]
    """Queueing disciplines, classes and filters."""
    units: list[str]
    listening: list[str]
    mounts: list[str]
    members: dict[int, str]
    """By pid: state and binary of every etcd."""
    data: list[str]
    active: dict[str, str]
    """Faults that the journal has as not undone."""
    healed: dict[str, str]
    """Faults that are over, and who healed them."""
    files: dict[str, str]
    """Mode, owner and content of what was deployed."""
    state: dict[str, tuple[int, int]]
    """Size and time of everything the agent keeps; logs grow."""
    agent: int
    """Its pid; 0: it does not run."""
    firewall: list[str]
    """iptables and ip6tables, without counters."""
    cgroups: list[str]
    """With their limits."""
    runtime: list[str]
    """Names of units, drop-ins and files that live until the next boot."""
    processes: list[str]
    """The first words of what runs of this tool and of etcd."""
    kept: list[str]
    """Names of the agent's files that no fault should add to."""

    @property
    def footprint(self) -> Look:
        """What a fault that is over must have left as it was, with a member that runs before and after."""
        members = dict(enumerate(sorted(self.members.values())))
        return msgspec.structs.replace(self.lasting, members=members)

    @property
    def lasting(self) -> Look:
        """The same without what every run and every restart of the agent may change."""
        return msgspec.structs.replace(self, healed={}, state={}, agent=0)

    def problems(self) -> list[str]:
        """What keeps the host from being clean: as it was deployed, and at rest."""
        found = {
            "tables": self.tables,
            "members": self.members,
            "data": self.data,
            "active faults": self.active,
            "units": [unit for unit in self.units if unit != "etcd-chaos-agent.service"],
            "agent": [] if self.agent else ["it does not run"],
        }
        return [f"{what}: {left}" for what, left in found.items() if left]


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    code: int
    events: list[Event]
    err: str

    @property
    def directory(self) -> RunDirectory:
        """What it left behind."""
        return RunDirectory.open(Path(next(e.directory for e in self.events if isinstance(e, RunStarted))))

    @property
    def result(self) -> RunResult:
        """As written to the directory."""
        result = self.directory.read_result()
        assert result is not None
        return result

    @property
    def said(self) -> str:
        """For a person whose test has failed."""
        notices = (event.text for event in self.of(Notice))
        reasons = (event.result.reason for event in self.of(RunFinished))
        return "\n".join([*notices, *reasons, self.err])

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Running:
    """``etcd-chaos run --json`` under way."""

    process: asyncio.subprocess.Process
    events: list[Event] = field(default_factory=list)

    async def until(self, kind: type[E], wanted: Callable[[E], bool] = lambda _: True) -> E:
        """The next event that is wanted."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            async for line in self.process.stdout:
                event = decode_event(line)
                self.events.append(event)
                if isinstance(event, kind) and wanted(event):
                    return event
        raise AssertionError(f"the run ended without {kind.__name__}: {await self.end()}")

    async def phase(self, phase: Phase) -> PhaseStarted:
        """When a phase begins."""
        return await self.until(PhaseStarted, lambda event: event.phase is phase)

    async def held(self) -> str:
        """When a fault is being held; the member it is on."""
        await self.phase(Phase.HOLD)
        return next(event.member for event in reversed(self.events) if isinstance(event, FaultInjected))

    async def end(self) -> Ended:
        """The end, waited for."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate()
        self.events += map(decode_event, out.splitlines())
        assert self.process.returncode is not None
        return Ended(self.process.returncode, self.events, err.decode())


@dataclass(frozen=True)
class Rig:
    """A lab with everything deployed."""

    lab: Lab
    inventory: Path
    versions: tuple[str, ...]
    """Of etcd, oldest first."""

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.lab.hosts)

    # --- commands of this tool

    async def cli(self, *arguments: str | Path) -> Done:
        """``etcd-chaos ARGUMENTS``."""
        return await _done((*_CLI, *map(str, arguments)))

    async def play(self, playbook: str, *arguments: str) -> Played:
        """``ansible-playbook playbooks/PLAYBOOK.yml -i INVENTORY ARGUMENTS``, as the README says."""
        command = str(Path(sys.executable).with_name("ansible-playbook"))
        argv = (command, f"playbooks/{playbook}.yml", "-i", str(self.inventory), *arguments)
        done = await _done(argv)
        return Played(done.argv, done.code, done.out, done.err)

    @asynccontextmanager
    async def running(
        self, scenario: Path, *arguments: str | Path, inventory: Path | None = None
    ) -> AsyncIterator[Running]:
        """A run of a scenario, its directory beside the file; killed when the body raises."""
        argv = ("run", "--json", "-s", scenario, "-i", inventory or self.inventory, "-o", scenario.parent)
        process = await _start((*_CLI, *map(str, (*argv, *arguments))))
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def run(self, scenario: Path, *arguments: str | Path, inventory: Path | None = None) -> Ended:
        """The same, to its end."""
        async with self.running(scenario, *arguments, inventory=inventory) as running:
            return await running.end()

    # --- the hosts

    async def shell(self, host: str, script: str) -> str:
        """Run a script on a host; what it printed."""
        return await self._over_ssh(host, "bash", "-e", stdin=script)

    @asynccontextmanager
    async def broken(self, host: str, how: str, repair: str) -> AsyncIterator[None]:
        """A host with something wrong, put right afterwards, whatever happens."""
        try:
            await self.shell(host, how)
            yield
        finally:
            await self.shell(host, repair)

    async def look(self, host: str) -> Look:
        """What is on a host now."""
        said = await self._over_ssh(host, "python3", "-", stdin=_LOOK)
        return msgspec.convert(json.loads(said), Look, strict=False)

    async def looks(self, hosts: Sequence[str] = ()) -> dict[str, Look]:
        """What is on some hosts, all by default."""
        names = hosts or self.hosts
        return dict(zip(names, await asyncio.gather(*map(self.look, names)), strict=True))

    async def dirt(self, hosts: Sequence[str] = ()) -> dict[str, list[str]]:
        """By host: what keeps it from being clean; empty if all are."""
        looks = await self.looks(hosts)
        return {name: problems for name, look in looks.items() if (problems := look.problems())}

    async def _over_ssh(self, host: str, *argv: str, stdin: str) -> str:
        # Ansible's connection is used where one is open; none is left open from here.
        ssh, *options = self.lab.ssh_command(host)
        shared = ("-o", f"ControlPath={self.lab.spec.directory / 'ssh' / '%h'}")
        done = await _done((ssh, *shared, *options, *argv), stdin)
        assert done.code == 0, done
        return done.out

    # --- files

    def inventory_with(
        self, folder: Path, *, hosts: Mapping[str, str] | None = None, **variables: object
    ) -> Path:
        """A copy of the inventory with other hosts (addresses by name) or variables."""
        shutil.copytree(self.inventory, folder)
        if hosts is not None:
            listed = {"etcd": {"hosts": {name: {"ansible_host": at} for name, at in hosts.items()}}}
            (folder / "hosts.yml").write_text(yaml.safe_dump(listed))
        for_group = folder / "group_vars" / "etcd.yml"
        for_group.write_text(yaml.safe_dump(yaml.safe_load(for_group.read_text()) | variables, width=1000))
        return folder


def deployed_on(lab: Lab, folder: Path, versions: tuple[str, ...], suites: Sequence[str]) -> Rig:
    """Deploy on a lab that stands, with an etcd of each Debian suite."""
    builds = [{"source": "debian", "suite": suite} for suite in suites]
    bare = Rig(lab, lab.inventory, versions)
    rig = Rig(lab, bare.inventory_with(folder / "inventory", etcd_builds=builds), versions)
    played = asyncio.run(rig.play("deploy"))
    assert played.code == ExitCode.VALID, played.out[-5000:] + played.err
    return rig


def case(fault: str, target: str, **parts: object) -> dict[str, object]:
    """A case of a scenario, as short as it can be."""
    times = {"steady": "300ms", "hold": "1s", "settle": "300ms"}
    return {"name": f"{fault}-{target}", "fault": fault, "target": target, **times, **parts}


def scenario(folder: Path, *cases: dict[str, object], **parts: object) -> Path:
    """A scenario file with a little load."""
    path = folder / "tiny.yml"
    load = [{"kind": "kv", "clients": 4, "rate": "100/s", "keys": 50}]
    text = yaml.safe_dump({"name": "tiny", "stressers": load, "cases": list(cases), **parts}, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


async def until_quiet(complaints: Callable[[], Awaitable[object]], *, seconds: float = PATIENCE) -> None:
    """Ask again and again until nobody complains."""
    deadline = asyncio.get_running_loop().time() + seconds
    while left := await complaints():
        assert asyncio.get_running_loop().time() < deadline, left
        await asyncio.sleep(0.5)


async def _start(argv: tuple[str, ...], stdin: int = DEVNULL) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv, stdin=stdin, stdout=PIPE, stderr=PIPE, cwd=CHECKOUT, limit=_LINE_BYTES
    )


async def _done(argv: tuple[str, ...], stdin: str = "") -> Done:
    process = await _start(argv, PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin.encode())
    except BaseException:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Done(argv, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
