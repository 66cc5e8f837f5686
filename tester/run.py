"""A run: rounds of a plan on the hosts of an inventory, with one clock, one seed and one directory."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from agent_service.models import MemberState
from tester import __version__
from tester.agents import connect
from tester.claims import claim
from tester.clock import RunClock
from tester.console import choose_mode, make_console
from tester.errors import AgentError, EtcdChaosError, ExitCode, InfrastructureError
from tester.events import EventBus, Notice, Progress, RoundFinished, RunFinished, RunStarted
from tester.faults import Scene
from tester.fleet import ask_all
from tester.interrupt import Interrupt
from tester.keeping import Keeping
from tester.memory import forecast
from tester.orchestration.paths import state_dir
from tester.orchestration.plays import Playbooks
from tester.plan import lacking, make_plan
from tester.results import RoundResult, RunResult
from tester.round import RoundPlays, RoundRunner
from tester.rundir import RunDirectory, RunInfo
from tester.session import open_session
from tester.stage import RoundSetting, round_token
from tester.status.server import serving
from tester.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_client import AgentClient
    from agent_service.models import HostInfo
    from tester.inventory import Inventory
    from tester.plan import Plan
    from tester.run_request import RunRequest
    from tester.rundir import RoundDirectory


def execute(request: RunRequest) -> ExitCode:
    """Run what the command line asks for, and show it on this terminal.

    Raises:
        ScenarioError: the scenario does not fit the inventory.
        InventoryError: the inventory is wrong.
        UsageError: a run is to go on elsewhere than it began.
        InfrastructureError: the run directory cannot be made.
    """
    return asyncio.run(_execute(request))


async def _execute(request: RunRequest) -> ExitCode:
    async with open_session(request.inventory, lambda _: None) as session:
        inventory = session.inventory
    plan = make_plan(request.scenario.scenario, inventory, seed=request.seed, rounds=request.rounds)
    if request.resume is not None:
        request.resume.refuse_elsewhere(plan)
    bus = EventBus()
    async with AsyncExitStack() as stack:
        console = stack.enter_context(make_console(choose_mode(sys.stdout, json=request.json), sys.stdout))
        bus.subscribe(console.listener)
        if request.status is not None:
            address = await stack.enter_async_context(serving(request.status, bus))
            bus.publish(Notice(f"http://{address}/status and /metrics say where this run is"))
        result = await Run(request, inventory, plan, bus).run()
    return result.exit_code


class Run:
    """One run, from its directory to its result."""

    def __init__(self, request: RunRequest, inventory: Inventory, plan: Plan, bus: EventBus) -> None:
        self._request = request
        self._inventory = inventory
        self._plan = plan
        self._bus = bus
        self._clock = RunClock()
        self._interrupt = Interrupt(bus)
        earlier = request.resume
        if earlier is None:
            self.directory = RunDirectory.create(request.output, plan.scenario.name, plan.seed)
        else:
            self.directory = earlier.directory
        # Agents take a fault whose id they know for the same one, and a round that is done anew asks for others.
        self._name = self.directory.path.name
        if earlier is not None:
            self._name += f"-resumed-{self._clock.started_realtime_ns}"
        self._tally = earlier.tally if earlier else Tally()
        self._keep_rounds = request.keep_rounds
        if earlier is not None and request.keep_rounds is None:
            self._keep_rounds = earlier.keep_rounds
        self._keeping = Keeping(self._keep_rounds, earlier.valid if earlier else ())

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
                version=plan.etcd_version,
                directory=str(self.directory.path),
            )
        )
        large = forecast(plan.scenario.stressers, plan.cases(self._tally.rounds + 1))
        if large is not None:
            self._bus.publish(Notice(large, warning=True))
        error: EtcdChaosError | None = None
        with self._interrupt.watching():
            try:
                await self._run_rounds()
            except EtcdChaosError as caught:
                error = caught
            except asyncio.CancelledError:
                if not self._interrupt.asked:
                    raise
            except Exception as defect:  # of ours: who reads results must not wait for one that never comes
                self._finish(InfrastructureError(f"a defect of etcd-chaos {__version__}: {defect!r}"))
                raise
        return self._finish(error)

    async def _run_rounds(self) -> None:
        claims = state_dir() / "in-use"
        with claim((*self._plan.hosts, *self._plan.load_hosts), claims, str(self.directory.path)):
            await self._run_claimed()

    async def _run_claimed(self) -> None:
        async with connect(self._inventory) as clients:
            agents = {host.name: clients[host.name] for host in self._plan.hosts}
            load_agents = {host.name: clients[host.name] for host in self._plan.load_hosts}
            infos = await ask_all(agents | load_agents, lambda _, agent: agent.check_version())
            self._refuse_if_lacking(infos)
            self._write_info(infos)
            if self._request.resume is not None and self._request.resume.broken_off:
                self.directory.set_aside(self._request.resume.next_round)
            for number in self._numbers():
                directory = self.directory.make_round(number)
                result = await self._run_round(directory, agents, load_agents)
                self._tally.add(result)
                self._bus.publish(RoundFinished(result))
                directory.write_result(result)
                if self._interrupt.asked or result.exit_code is ExitCode.UNHEALED or self._is_enough(result):
                    return
                self._keeping.add(directory, result)

    def _numbers(self) -> Iterable[int]:
        """The rounds to do, counted from 1."""
        first, last = self._tally.rounds + 1, self._plan.rounds
        return range(first, last + 1) if last else count(first)

    def _is_enough(self, result: RoundResult) -> bool:
        return self._request.exit_on_failure and result.exit_code is not ExitCode.VALID

    async def _run_round(
        self,
        directory: RoundDirectory,
        agents: Mapping[str, AgentClient],
        load_agents: Mapping[str, AgentClient],
    ) -> RoundResult:
        number = directory.number
        setting = RoundSetting(
            number=number,
            run=self._name,
            plan=self._plan,
            agents=agents,
            clock=self._clock,
            bus=self._bus,
            directory=directory,
            load_agents=load_agents,
        )
        scene = Scene(
            run=self._name,
            round=number,
            hosts=self._plan.hosts,
            agents=agents,
            bus=self._bus,
            clock=self._clock,
            inventory=self._request.inventory,
            outputs=directory.scripts,
            max_faulted=self._plan.max_faulted,
        )
        plays = self._plays(directory, agents)
        return await RoundRunner(setting, scene, plays, lambda: self._interrupt.asked).run()

    def _plays(self, directory: RoundDirectory, agents: Mapping[str, AgentClient]) -> RoundPlays:
        request, plan = self._request, self._plan
        playbooks = Playbooks(
            request.inventory, directory.ansible, lambda text: self._bus.publish(Progress(text))
        )
        hosts = [host.name for host in (*plan.hosts, *plan.load_hosts)]

        async def play(name: str, **variables: str | bool | list[str]) -> None:
            await playbooks.run(name, variables=variables, limit=hosts)

        async def provision() -> None:
            await play(
                "provision", etcd_agent_expected_version=__version__, etcd_agent_wanted_etcd=wanted_etcd(plan)
            )

        async def collect() -> None:
            label = round_token(self._name, directory.number)  # archives stay on their hosts
            try:
                if not (self._interrupt.asked or request.keep_cluster):
                    await self._have_stacks_written(agents)
                if request.keep_data:
                    await ask_all(agents, lambda _, agent: _archive(agent, label))
            finally:
                await play(
                    "collect",
                    etcd_agent_collect_to=str((directory.path / "members").absolute()),
                    etcd_agent_collect_archives=[label] if request.keep_data else [],
                )

        async def cleanup() -> None:
            await play("cleanup", etcd_agent_keep_member=request.keep_cluster)

        return RoundPlays(provision, collect, cleanup)

    async def _have_stacks_written(self, agents: Mapping[str, AgentClient]) -> None:
        """Let members that still run end with every goroutine's stack in their logs: they are ended anyway."""
        try:
            await ask_all(agents, lambda _, agent: _quit(agent))
        except AgentError as error:
            self._bus.publish(Notice(f"logs without stacks: {error.message}", warning=True))

    def _refuse_if_lacking(self, infos: dict[str, HostInfo]) -> None:
        if missing := lacking(self._plan, infos):
            raise InfrastructureError(
                "\n".join(missing), remedy="take the case out, or give the host what it lacks"
            )

    def _write_info(self, infos: dict[str, HostInfo]) -> None:
        self.directory.write_scenario(
            self._request.scenario.alone, self._plan.scenario.model_dump_json(indent=1)
        )
        self.directory.write_info(
            RunInfo(
                scenario=self._plan.scenario.name,
                seed=self._plan.seed,
                started_realtime_ns=self._clock.started_realtime_ns,
                tool_version=__version__,
                etcd_version=self._plan.etcd_version,
                command=tuple(sys.argv),
                rounds=self._plan.rounds,
                keep_rounds=self._keep_rounds,
                keep_data=self._request.keep_data,
                exit_on_failure=self._request.exit_on_failure,
                hosts={host.name: host.address for host in (*self._plan.hosts, *self._plan.load_hosts)},
                agent_versions={name: info.agent_version for name, info in infos.items()},
            )
        )

    def _finish(self, error: EtcdChaosError | None) -> RunResult:
        codes = [self._tally.code]
        if error is not None:
            codes.append(error.exit_code)
            self._bus.publish(Notice(describe(error), warning=True))
        if self._interrupt.asked:
            codes.append(ExitCode.INTERRUPTED)
        result = RunResult(
            scenario=self._plan.scenario.name,
            seed=self._plan.seed,
            inventory=str(self._request.inventory),
            directory=str(self.directory.path),
            rounds=self._tally.recent,
            exit_code=ExitCode.worst(*codes),
            reason=self._reason(error),
            elapsed_seconds=self._clock.now() / 1e9,
            rounds_total=self._tally.rounds,
            cases_total=self._tally.cases,
        )
        try:
            self.directory.write_result(result)
        except InfrastructureError as full:
            self._bus.publish(Notice(describe(full), warning=True))
            code = ExitCode.worst(result.exit_code, full.exit_code)
            result = replace(result, exit_code=code, reason=result.reason or full.message)
        self._bus.publish(RunFinished(result))
        return result

    def _reason(self, error: EtcdChaosError | None) -> str:
        """The first thing that made the run anything but valid; empty if nothing did."""
        if error is not None:
            return error.message
        return self._tally.reason or ("interrupted" if self._interrupt.asked else "")


def wanted_etcd(plan: Plan) -> str:
    """The version that every host must have; empty if they differ: then each is asked for its own at its start."""
    versions = {plan.version(host) for host in plan.hosts}
    return versions.pop() if len(versions) == 1 else ""


async def _quit(agent: AgentClient) -> None:
    if (await agent.member()).state is MemberState.RUNNING:
        await agent.quit()


async def _archive(agent: AgentClient, label: str) -> None:
    await agent.stop()
    await agent.archive(label, data=True)


def describe(error: EtcdChaosError) -> str:
    """What happened and what to do, for people."""
    return f"{error.message}\n{error.remedy}" if error.remedy else error.message
