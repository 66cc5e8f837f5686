"""A run: rounds of a plan on the hosts of an inventory, with one clock, one seed and one directory."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent_client import ClientTls
from tester import __version__
from tester.agents import Agents
from tester.clock import RunClock
from tester.errors import EtcdChaosError, ExitCode, InfrastructureError
from tester.events import EventBus, Notice, Progress, RoundFinished, RunFinished, RunStarted
from tester.faults import Scene
from tester.interrupt import Interrupt
from tester.inventory import inventory_of
from tester.orchestration.plays import Playbooks
from tester.plan import Plan, lacking, make_plan
from tester.results import CaseState, RoundResult, RunResult, Verdict
from tester.round import RoundPlays, RoundRunner
from tester.rundir import RunDirectory, RunInfo
from tester.scenario.loader import load_scenario
from tester.stage import RoundSetting

if TYPE_CHECKING:
    from agent_service.models import HostInfo
    from tester.inventory import Inventory
    from tester.run_request import RunRequest
    from tester.rundir import RoundDirectory
    from tester.scenario.loader import LoadedScenario


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that makes sense: scenario and inventory were read and fit together. Nothing has been touched."""

    request: RunRequest
    loaded: LoadedScenario
    inventory: Inventory
    plan: Plan


async def prepare(request: RunRequest) -> PreparedRun:
    """Read scenario and inventory and fit them together. Contacts no host.

    Raises:
        ScenarioError: the scenario is wrong or does not fit.
        InventoryError: the inventory is.
    """
    loaded = load_scenario(request.scenario)
    with tempfile.TemporaryDirectory(prefix="etcd-chaos-resolve-") as scratch:
        playbooks = Playbooks(request.inventory, Path(scratch), lambda _: None)
        resolved = await playbooks.resolve()
    inventory = inventory_of(resolved, request.inventory)
    plan = make_plan(loaded.scenario, inventory, seed=request.seed, rounds=request.rounds)
    return PreparedRun(request, loaded, inventory, plan)


class Run:
    """One run, from its directory to its result."""

    def __init__(self, prepared: PreparedRun, bus: EventBus) -> None:
        self._prepared = prepared
        self._plan = prepared.plan
        self._bus = bus
        self._clock = RunClock()
        self._interrupt = Interrupt(bus)
        self.directory = RunDirectory.create(
            prepared.request.output, self._plan.scenario.name, self._plan.seed
        )
        self._rounds: list[RoundResult] = []

    async def run(self) -> RunResult:
        """Every round; the result is published and written, whatever happened."""
        plan = self._plan
        self._bus.publish(
            RunStarted(
                scenario=plan.scenario.name,
                seed=plan.seed,
                rounds=plan.rounds,
                cases=tuple(case.name for case in plan.scenario.cases),
                hosts=tuple(host.name for host in plan.hosts),
                version=self._version(),
                directory=str(self.directory.path),
            )
        )
        error: EtcdChaosError | None = None
        with self._interrupt.watching():
            try:
                await self._run_rounds()
            except EtcdChaosError as caught:
                error = caught
            except asyncio.CancelledError:
                if not self._interrupt.asked:
                    raise
        return self._finish(error)

    async def _run_rounds(self) -> None:
        inventory, plan = self._prepared.inventory, self._plan
        identity = inventory.identity
        tls = ClientTls(ca=identity.ca, certificate=identity.certificate, key=identity.key)
        async with Agents(plan.hosts, tls) as agents:
            self._refuse_if_lacking(agents.infos)
            self._write_info(agents.infos)
            for number in range(1, plan.rounds + 1):
                directory = self.directory.make_round(number)
                result = await self._run_round(directory, agents)
                self._rounds.append(result)
                self._bus.publish(RoundFinished(result))
                directory.write_result(result)
                if self._interrupt.asked or result.exit_code is ExitCode.UNHEALED:
                    return

    async def _run_round(self, directory: RoundDirectory, agents: Agents) -> RoundResult:
        number = directory.number
        setting = RoundSetting(
            number=number,
            run=self.directory.path.name,
            plan=self._plan,
            agents=agents,
            clock=self._clock,
            bus=self._bus,
            directory=directory,
        )
        scene = Scene(
            run=self.directory.path.name,
            round=number,
            hosts=self._plan.hosts,
            agents=agents.clients,
            bus=self._bus,
            clock=self._clock,
            inventory=self._prepared.request.inventory,
            max_faulted=self._plan.max_faulted,
        )
        plays = self._plays(directory)
        return await RoundRunner(setting, scene, plays, lambda: self._interrupt.asked).run()

    def _plays(self, directory: RoundDirectory) -> RoundPlays:
        request, plan = self._prepared.request, self._plan
        playbooks = Playbooks(
            request.inventory, directory.ansible, lambda text: self._bus.publish(Progress(text))
        )
        hosts = [host.name for host in plan.hosts]
        versions = sorted({plan.version(host) for host in plan.hosts})

        async def provision() -> None:
            await playbooks.run("provision", variables={"provision_versions": versions}, limit=hosts)

        async def collect() -> None:
            destination = str(directory.path / "members")
            variables = {"collect_destination": destination, "collect_data": request.keep_data}
            await playbooks.run("collect", variables=variables, limit=hosts)

        async def cleanup() -> None:
            await playbooks.run("cleanup", variables={"cleanup_keep_member": request.keep_cluster}, limit=hosts)

        return RoundPlays(provision, collect, cleanup)

    def _refuse_if_lacking(self, infos: dict[str, HostInfo]) -> None:
        if missing := lacking(self._plan, infos):
            raise InfrastructureError(
                "\n".join(missing), remedy="take the case out, or give the host what it lacks"
            )

    def _version(self) -> str:
        return ", ".join(sorted({self._plan.version(host) for host in self._plan.hosts}))

    def _write_info(self, infos: dict[str, HostInfo]) -> None:
        prepared = self._prepared
        self.directory.write_scenario(prepared.loaded.text, self._plan.scenario.model_dump_json(indent=1))
        self.directory.write_info(
            RunInfo(
                scenario=self._plan.scenario.name,
                seed=self._plan.seed,
                started_realtime_ns=self._clock.started_realtime_ns,
                tool_version=__version__,
                etcd_version=self._version(),
                command=prepared.request.command,
                hosts={host.name: host.address for host in self._plan.hosts},
                agent_versions={name: info.agent_version for name, info in infos.items()},
            )
        )

    def _finish(self, error: EtcdChaosError | None) -> RunResult:
        codes = [result.exit_code for result in self._rounds]
        if error is not None:
            codes.append(error.exit_code)
            self._bus.publish(Notice(describe(error), warning=True))
        if self._interrupt.asked:
            codes.append(ExitCode.INTERRUPTED)
        result = RunResult(
            scenario=self._plan.scenario.name,
            seed=self._plan.seed,
            directory=str(self.directory.path),
            rounds=tuple(self._rounds),
            exit_code=ExitCode.worst(*codes),
            reason=_reason(self._rounds, error, interrupted=self._interrupt.asked),
            elapsed_seconds=self._clock.now() / 1e9,
        )
        try:
            self.directory.write_result(result)
        except InfrastructureError as full:
            self._bus.publish(Notice(describe(full), warning=True))
            code = ExitCode.worst(result.exit_code, full.exit_code)
            result = replace(result, exit_code=code, reason=result.reason or full.message)
        self._bus.publish(RunFinished(result))
        return result


def describe(error: EtcdChaosError) -> str:
    """What happened and what to do, for people."""
    return f"{error.message}\n{error.remedy}" if error.remedy else error.message


def _reason(rounds: list[RoundResult], error: EtcdChaosError | None, *, interrupted: bool) -> str:
    """The first thing that made the run anything but valid; empty if nothing did."""
    if error is not None:
        return error.message
    for result in rounds:
        for case in result.cases:
            if case.state not in {CaseState.PASSED, CaseState.SKIPPED}:
                return f"round {result.number}, case {case.name}: {case.reason}"
        if result.error is not None:
            return f"round {result.number}: {result.error}"
        for check in result.checks:
            if check.verdict is not Verdict.VALID:
                return f"round {result.number}: {check.checker}: {check.message}"
    return "interrupted" if interrupted else ""
