from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from agent_client.errors import AgentUnreachableError
from agent_service.models import Capability, FaultPlan, FaultSpec, HostClock, HostInfo
from tester.cli.entry import run_command
from tester.errors import ExitCode, InfrastructureError
from tester.plan import make_plan
from tester.preview import preview, render
from tester.rundir import RunDirectory, RunInfo
from tester.scenario.faults import FAULTS
from tester.scenario.loader import parse_scenario
from tester.session import Session
from tests.unit.scenario.hosts import host, inventory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tester.inventory import Inventory
    from tester.run_request import RunRequest

INFO = HostInfo(
    agent_version="0.1.0",
    api_version=1,
    hostname="h",
    os_release="",
    kernel="",
    python="3.11",
    cpus=1,
    memory_bytes=1,
    supervisor="systemd",
    etcd_versions=("3.5.16",),
    capabilities=tuple(
        Capability(kind=kind, available=True, reason="yes")
        for kind in dict.fromkeys(section.on_agent for section in FAULTS.values())
        if kind is not None
    ),
    clock=HostClock(boot_id="b", monotonic_ns=0, realtime_ns=0),
)


@dataclass
class Asked:
    """An agent that answers questions and counts them."""

    away: bool = False
    info: HostInfo = INFO
    plans: list[str] = field(default_factory=list)

    async def check_version(self) -> HostInfo:
        if self.away:
            raise AgentUnreachableError("agent https://10.207.0.2:9027: no answer")
        return self.info

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        self.plans.append(spec.kind)
        return FaultPlan(inject=(f"do {spec.kind}",), undo=(f"undo {spec.kind}",))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text("etcd: {}\n")
    return path


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> dict[str, Asked]:
    asked = {f"h{n}": Asked() for n in range(1, 4)}

    @asynccontextmanager
    async def open_session(source: Path, on_progress: object) -> AsyncIterator[Session]:
        yield Session(replace(inventory(3), source=source), None)  # type: ignore[arg-type]

    @asynccontextmanager
    async def connect(subject: Inventory) -> AsyncIterator[dict[str, Asked]]:
        yield asked

    monkeypatch.setattr("tester.cli.run.open_session", open_session)
    monkeypatch.setattr("tester.cli.run.connect", connect)
    return asked


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[RunRequest]:
    requests: list[RunRequest] = []
    module = ModuleType("tester.run")

    def execute(request: RunRequest) -> ExitCode:
        requests.append(request)
        return ExitCode.INVALID

    module.execute = execute  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tester.run", module)
    return requests


def test_run_hands_over_what_was_asked(source: Path, executed: list[RunRequest]) -> None:
    options = ["--seed", "7", "--rounds", "3", "--output", "out", "--json", "--keep-data", "--keep-cluster"]
    assert run_command(["run", "-i", str(source), "-s", "quorum", *options]) == ExitCode.INVALID
    (request,) = executed
    assert request.inventory == source
    assert request.scenario.scenario.name == "quorum"
    assert (request.seed, request.rounds, request.output) == (7, 3, Path("out"))
    assert request.json
    assert request.keep_data
    assert request.keep_cluster


def test_run_has_defaults(source: Path, executed: list[RunRequest]) -> None:
    run_command(["run", "--inventory", str(source)])
    (request,) = executed
    assert request.scenario.scenario.name == "quick"
    assert (request.seed, request.rounds, request.output) == (None, None, Path("runs"))
    assert (request.json, request.keep_data, request.keep_cluster) == (False, False, False)


def test_what_a_run_was_asked_for_holds_when_it_is_taken_up(
    source: Path, executed: list[RunRequest], tmp_path: Path
) -> None:
    made = RunDirectory.create(tmp_path, "s", 5)
    made.write_scenario("name: s\nstressers: [{kind: kv}]\ncases: [{name: a, fault: kill}]\n", "{}")
    info = RunInfo("s", 5, 0, "0", "3.5.16", (), rounds=0, keep_data=True, exit_on_failure=True)
    made.write_info(info)
    run_command(["run", "-i", str(source), "--resume", str(made.path)])
    made.write_info(replace(info, keep_data=False, exit_on_failure=False))
    run_command(["run", "-i", str(source), "--resume", str(made.path), "--keep-data"])
    first, second = executed
    assert (first.rounds, first.keep_data, first.exit_on_failure) == (0, True, True)
    assert (second.rounds, second.keep_data, second.exit_on_failure) == (0, True, False)


def test_a_run_is_not_taken_up_on_other_hosts(
    source: Path,
    agents: dict[str, Asked],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = RunDirectory.create(tmp_path, "s", 5)
    made.write_scenario("name: s\nstressers: [{kind: kv}]\ncases: [{name: a, fault: kill}]\n", "{}")
    hosts = dict.fromkeys(("h1", "h2", "h3"), "")
    resume = ["run", "-i", str(source), "--resume", str(made.path), "--rounds", "0"]
    for given, code in ((hosts, ExitCode.VALID), ({"h9": ""}, ExitCode.USAGE)):
        made.write_info(RunInfo("s", 5, 0, "0", "3.5.16", (), hosts=given))
        assert run_command([*resume, "--dry-run"]) == code
    told = capsys.readouterr().err
    assert "h9 is missing; h1 is new; h2 is new; h3 is new" in told
    assert "remedy: give it the inventory of then" in told
    monkeypatch.setattr("tester.run.open_session", sys.modules["tester.cli.run"].open_session)
    assert run_command(resume) == ExitCode.USAGE
    assert "h9 is missing" in capsys.readouterr().err


def test_a_wrong_scenario_starts_nothing(
    source: Path, executed: list[RunRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Path(__file__).parents[1] / "scenario" / "bad.yml"
    assert run_command(["run", "-i", str(source), "-s", str(bad)]) == ExitCode.USAGE
    assert executed == []
    told = capsys.readouterr().err
    golden = (bad.parent / "bad.txt").read_text().replace("bad.yml:", f"{bad}:").splitlines()
    assert told.splitlines() == [
        f"error: {golden[0]}",
        *(f"       {line}" for line in golden[1:]),
        f"remedy: mend the file, then: etcd-chaos scenarios validate {bad}",
    ]


def test_an_error_in_the_run_is_its_exit_code(
    source: Path, monkeypatch: pytest.MonkeyPatch, executed: list[RunRequest]
) -> None:
    def execute(request: RunRequest) -> ExitCode:
        raise InfrastructureError("h1 is away")

    monkeypatch.setattr(sys.modules["tester.run"], "execute", execute)
    assert run_command(["run", "-i", str(source)]) == ExitCode.INFRASTRUCTURE


def test_a_dry_run_shows_targets_commands_and_undo(
    source: Path, agents: dict[str, Asked], executed: list[RunRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    agents["h2"].away = True
    assert run_command(["run", "-i", str(source), "--seed", "1", "--dry-run"]) == 0
    assert executed == []
    golden = (Path(__file__).parent / "dry_run.txt").read_text()
    assert capsys.readouterr().out.replace(str(source), "INVENTORY") == golden
    assert agents["h2"].plans == []


def test_a_dry_run_as_json(
    source: Path, agents: dict[str, Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "-i", str(source), "-s", "quorum", "--seed", "1", "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (fault,) = shown["cases"][0]["faults"]
    assert (fault["target"], fault["certain"], len(fault["targets"])) == ("majority", True, 2)
    assert {
        "host": fault["targets"][0],
        "inject": ["do stop"],
        "undo": ["undo stop"],
        "problem": None,
    } in fault["commands"]


def test_a_dry_run_of_what_a_host_cannot_do_says_so(
    source: Path, agents: dict[str, Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    unable = Capability(kind="isolate", available=False, reason="nft is missing")
    others = tuple(one for one in INFO.capabilities if one.kind != "isolate")
    agents["h3"].info = INFO.model_copy(update={"capabilities": (*others, unable)})
    assert run_command(["run", "-i", str(source), "-s", "network", "--dry-run"]) == ExitCode.INFRASTRUCTURE
    assert "cannot run: host h3 cannot do fault isolate: nft is missing" in capsys.readouterr().out


def test_a_dry_run_of_what_does_not_fit(
    source: Path, agents: dict[str, Asked], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "five.yml"
    path.write_text(
        "name: five\ncluster: {members: 5}\nstressers: [{kind: kv}]\ncases: [{name: a, fault: kill}]\n"
    )
    assert run_command(["run", "-i", str(source), "-s", str(path), "--dry-run"]) == ExitCode.USAGE
    assert "cluster.members is 5, and there are 3 hosts" in capsys.readouterr().err


async def test_a_preview_shows_load_hosts_and_what_they_lack() -> None:
    hosts = replace(inventory(3), load_hosts=(host(8), host(9)))
    scenario = parse_scenario(
        "name: x\nworkers_on: load\nworkers: 2\nstressers: [{kind: kv}]\ncases: [{name: a, fault: kill}]\n",
        "f",
    )
    plan = make_plan(scenario, hosts, seed=1)
    agents = {f"h{n}": Asked() for n in (1, 2, 3, 8)}
    agents["h9"] = Asked(
        info=INFO.model_copy(update={"load_lacks": "setpriv (package util-linux) is missing"})
    )
    shown = await preview(plan, agents)
    lines = render(shown, "INVENTORY").splitlines()
    assert "h8  10.207.0.8  load, 2 workers  agent 0.1.0" in lines
    assert lines[-1] == "cannot run: host h9 can hold no load: setpriv (package util-linux) is missing"
    assert agents["h8"].plans == agents["h9"].plans == []  # no fault hits them
