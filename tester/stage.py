"""The stage of a round: cluster, load, witnesses and clocks, set up in order and taken down in reverse."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from tester.actions.ground import Ground
from tester.background import Background
from tester.checkers import CHECKERS, run_checkers
from tester.cluster import bootstrap, member_flags, member_specs
from tester.errors import AgentError, ClusterError, LoadError
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError
from tester.etcd.monitor import ClusterMonitor
from tester.etcd.users import enable_auth
from tester.events import Notice, Phase
from tester.evidence import Witness
from tester.exits import ExitWatch, measure_offset
from tester.faults.finish import to_the_end
from tester.fleet import ask_all
from tester.history.history import History
from tester.history.loading import records_of
from tester.history.parts import PartsReader, join_parts
from tester.history.records import FORMAT_VERSION, CompactionRecord, Header
from tester.history.writer import HistoryWriter
from tester.load.engine import Load
from tester.load.placing import LoadSetting, place_load
from tester.load.watchers import Watchers
from tester.memberlogs import MemberLogs
from tester.membership import Membership
from tester.memory import outgrown
from tester.progress import Progress
from tester.roundlog import RoundLog
from tester.scenario.model import CheckerName
from tester.security import Security, make_security
from tester.targets import Roles
from tester.turn import EpochTurn
from tester.until import SnapshotLookout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from agent_client import AgentClient
    from agent_service.models import MemberSpec
    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.events import EventBus
    from tester.history.endstate import EndState
    from tester.inventory import Host
    from tester.phases import Phases
    from tester.plan import Plan
    from tester.results import CheckResult
    from tester.rundir import RoundDirectory

T = TypeVar("T")

LOAD_PREFIX = "etcd-chaos/load/"
_LOOK_SECONDS = 0.1
_SAMPLE_SECONDS = 0.5
_EVIDENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RoundSetting:
    """What a round is given."""

    number: int
    run: str
    """Name of the run, for cluster tokens, fault ids and audit logs."""
    plan: Plan
    agents: Mapping[str, AgentClient]
    clock: RunClock
    bus: EventBus
    directory: RoundDirectory
    load_agents: Mapping[str, AgentClient] = field(default_factory=dict)
    """Of hosts that hold load, and no member."""


class Stage:
    """Everything a case needs. Made by ``open_stage``."""

    def __init__(
        self,
        setting: RoundSetting,
        monitor: ClusterMonitor,
        exits: ExitWatch,
        writer: HistoryWriter,
        security: Security,
        specs: dict[str, MemberSpec],
        logs: MemberLogs,
    ) -> None:
        self.setting = setting
        self.security = security
        self.background = Background()
        self.monitor = monitor
        self.exits = exits
        self._writer = writer
        plan = setting.plan
        founders = [host.name for host in plan.initial]
        everywhere, loaded = security.admin_endpoints(plan.hosts), security.load_endpoints(plan.hosts)
        self.membership = Membership(everywhere, founders, monitor, setting.clock, setting.bus)
        self.load = place_load(
            LoadSetting(
                plan,
                setting.number,
                round_token(setting.run, setting.number),
                LOAD_PREFIX,
                setting.clock,
                setting.bus,
                setting.load_agents,
            ),
            loaded,
            writer,
        )
        self.watchers = Watchers(loaded, writer, setting.clock, LOAD_PREFIX)
        self.witness = Witness(everywhere, founders, setting.clock, exits, LOAD_PREFIX)
        if isinstance(self.load, Load):  # workers know no change of membership: a rule of the scenario
            for host in plan.hosts[len(founders) :]:
                self.load.absent(host.name)
            self.membership.subscribe(self.load)
        for follower in (self.watchers, self.witness):
            self.membership.subscribe(follower)
        self.progress = Progress(plan.scenario.stressers, setting.clock)
        self.turn = EpochTurn(self.load, self.watchers, writer, setting.clock, LOAD_PREFIX)
        self.ground = Ground(
            hosts={host.name: host for host in plan.hosts},
            agents=setting.agents,
            specs=specs,
            membership=self.membership,
            monitor=monitor,
            clock=setting.clock,
            bus=setting.bus,
            connect=connect,
            certificates=security.members,
            limit=plan.scenario.limits.recovery,
            announce_compaction=self.note_compaction,
            flags=partial(member_flags, plan.scenario.cluster),
        )
        self.snapshots = SnapshotLookout(setting.clock)
        self._logs = logs
        self._history = History()
        self._reader = PartsReader(setting.directory.history)

    @property
    def admin_endpoints(self) -> tuple[Endpoint, ...]:
        """Where each member answers the tester itself."""
        return self.membership.endpoints

    def roles(self) -> Roles:
        """The members' roles as of the last second."""
        view = self.monitor.view()
        order = [host.name for host in self.setting.plan.hosts]
        voters = tuple(sorted(view.voters, key=order.index))  # draws depend on it, also after one came late
        return Roles(voters, view.leader, view.learners)

    def check_alive(self) -> None:
        """See that everything that should run runs.

        Raises:
            InfrastructureError: a client, a watcher or the monitor died, or the history cannot be written.
        """
        self.background.check_alive()
        self.load.check_alive()
        self.monitor.check_alive()
        self.watchers.check_alive()

    async def check_hosts(self) -> None:
        """See that every agent answers: a cluster that lacks a host says nothing about etcd.

        Raises:
            AgentError: names each host whose agent does not.
        """
        await self.exits.poll_now()
        self.check_disks()
        if self.exits.silent:
            raise AgentError(
                f"the cluster is not whole, and no agent answers on {', '.join(sorted(self.exits.silent))}",
                remedy="see that the host is up, and its agent: systemctl status etcd-chaos-agent",
            )

    def check_disks(self) -> None:
        """See that the layers under the members' data live, as of the last poll: what etcd does without is no verdict.

        Raises:
            AgentError: names each host on which one does not.
        """
        if self.exits.layerless:
            raise AgentError(
                f"the disk layer under the member's data has ended on {', '.join(sorted(self.exits.layerless))}",
                remedy="read disk.log in the agent's log directory; the data lie whole on the host's disk",
            )

    async def while_alive(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, and see all the while that everything lives.

        Raises:
            InfrastructureError: as ``check_alive``; ``work`` has been cancelled by then.
        """
        task = asyncio.create_task(work)
        try:
            while not task.done():
                self.check_alive()
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look_on(self, seconds: float) -> None:
        """Let time pass, as ``while_alive``."""
        await self.while_alive(asyncio.sleep(seconds))
        self.check_alive()

    async def check(
        self, label: str, scope: str, on_quiet: Callable[[], None] | None = None
    ) -> tuple[CheckResult, ...]:
        """Pause the load, take the end state, run the scenario's checkers of ``scope``, go on.

        ``on_quiet`` is called once the last operation of the load has ended.

        Raises:
            InfrastructureError: the evidence could not be written, or the load is dead.
        """
        await self.load.pause()
        try:
            if on_quiet is not None:
                on_quiet()
            end = await self._end_state()
            self.check_disks()
            self.setting.directory.write_end_state(label, msgspec.json.encode(end))
            names = [name for name in self.setting.plan.scenario.checkers if CHECKERS[name].scope == scope]
            return await asyncio.to_thread(self._judge, names, end)
        finally:
            await self.load.resume()

    def note_compaction(self, revision: int) -> None:
        """Put into the history that the tester compacts: a watcher may be told of it."""
        self._writer.write(CompactionRecord(self.setting.clock.now(), revision))
        self._writer.flush()

    def _judge(self, names: Sequence[str], end: EndState) -> tuple[CheckResult, ...]:
        self._history.extend(self._reader.read_new())
        return run_checkers(names, self._history, end, partial(records_of, self.setting.directory.history))

    async def _end_state(self) -> EndState:
        late: list[str] = []
        try:
            revision = await self.load.mark(_EVIDENCE_SECONDS)
        except LoadError as error:
            # No evidence of the present: members say what they can, and checkers that it is too little.
            self.setting.bus.publish(Notice(error.message, warning=True))
            revision = 0
        else:
            late = await self.watchers.caught_up(revision, _EVIDENCE_SECONDS)
            for text in late:
                self.setting.bus.publish(Notice(text, warning=True))
        end = await self.witness.testify(revision)
        self._writer.flush()
        scenario = self.setting.plan.scenario
        if CheckerName.LOGS in scenario.checkers:
            logs = await self._logs.read()
            members = {
                name: msgspec.structs.replace(member, log=logs.get(name))
                for name, member in end.members.items()
            }
            end = msgspec.structs.replace(end, members=members)
        return msgspec.structs.replace(
            end, gap_limit=scenario.limits.gap, steps=self.progress.told(), late=tuple(late)
        )


@asynccontextmanager
async def open_stage(setting: RoundSetting, phases: Phases) -> AsyncIterator[Stage]:
    """Start cluster, witnesses and load of a round; on the way out everything stops but the cluster.

    Raises:
        InfrastructureError: something could not be started; what had started is stopped.
    """
    bus, clock, agents = setting.bus, setting.clock, setting.agents
    async with _closed_to_the_end() as stack:
        writer = HistoryWriter(setting.directory.history)
        stack.push_async_callback(asyncio.to_thread, join_parts, setting.directory.history)
        stack.push_async_callback(writer.close)
        writer.write(_header(setting))
        stack.enter_context(bus.listening(RoundLog(writer)))
        with phases.phase(Phase.BOOTSTRAP):
            offsets = await ask_all(agents, lambda _, agent: measure_offset(agent, clock))
            exits = ExitWatch(agents, bus, clock, offsets)
            await exits.poll_now()
            cluster = setting.plan.scenario.cluster
            security = make_security(cluster, setting.plan.hosts)
            monitor = ClusterMonitor(security.admin_endpoints(setting.plan.initial), clock, bus)
            await monitor.start()
            stack.push_async_callback(monitor.stop)
            logs = MemberLogs(agents)
            await logs.begin()
            specs = member_specs(setting.plan, round_token(setting.run, setting.number), security)
            first = {host.name: agents[host.name] for host in setting.plan.initial}
            await bootstrap(first, specs, security.members, monitor, cluster.start_timeout)
            if cluster.auth:
                await _enable_auth(security, setting.plan.initial, monitor, cluster.start_timeout)
            stage = Stage(setting, monitor, exits, writer, security, specs, logs)
            stack.push_async_callback(stage.witness.close)
            stack.push_async_callback(stage.background.stop)
            stage.background.start(exits.run(), "the watch for exits")
            stack.push_async_callback(stage.watchers.stop)
            await stage.watchers.start(stage.membership.names)
            stack.push_async_callback(stage.load.stop)
            await stage.load.start()
            stage.background.start(_sample(stage), "the load's sampler")
            await stage.while_alive(_first_answer(stage, cluster.start_timeout))
        yield stage


@asynccontextmanager
async def _closed_to_the_end() -> AsyncIterator[AsyncExitStack]:
    """A stack that is unwound as a whole: Ctrl-C while clients are being stopped must not leave some running."""
    stack = AsyncExitStack()
    try:
        yield stack
    finally:
        await to_the_end(stack.aclose())


async def _sample(stage: Stage) -> None:
    large = None
    while True:
        await asyncio.sleep(_SAMPLE_SECONDS)
        stage.setting.bus.publish(stage.load.sample(stage.setting.clock.now()))
        stage.progress.look(stage.load.steps, stage.monitor.view(), running=stage.load.running)
        if large is None and (large := outgrown(stage.load.totals().ok)) is not None:
            stage.setting.bus.publish(Notice(large, warning=True))


async def _first_answer(stage: Stage, limit_seconds: float) -> None:
    """Wait until the load is served: connections and tokens take their time, and a case's "before" is none of it."""
    clock = stage.setting.clock
    limit_ns = clock.now() + int(limit_seconds * 1e9)
    while not (stage.load.totals().ok or any(stage.load.steps)):
        if clock.now() > limit_ns:  # what that means is for the checkers to say
            notice = f"nothing of the load was acknowledged within {limit_seconds:g} s of its start"
            stage.setting.bus.publish(Notice(notice, warning=True))
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _enable_auth(
    security: Security, hosts: Sequence[Host], monitor: ClusterMonitor, limit_seconds: float
) -> None:
    """Make the users, and see that the tester's own is served.

    Raises:
        ClusterError: etcd refused a step, or does not serve ``root`` afterwards.
    """
    if security.root is None or security.load is None:
        raise ValueError("a cluster without users has nobody to enable authentication for")
    channel = connect(replace(security.admin_endpoints(hosts)[0], login=None))
    try:
        await enable_auth(channel, security.root, security.load, LOAD_PREFIX)
    except RpcError as error:
        raise ClusterError(f"authentication was not enabled: {error}") from error
    finally:
        await channel.close()
    await monitor.wait_writes(limit_seconds)


def round_token(run: str, number: int) -> str:
    """A name for a round of a run and no other, on hosts that may still have something of another one."""
    return f"round-{number}-{hashlib.sha256(run.encode()).hexdigest()[:12]}"


def _header(setting: RoundSetting) -> Header:
    section = setting.plan.scenario.cluster
    return Header(
        version=FORMAT_VERSION,
        run=setting.run,
        round=setting.number,
        scenario=setting.plan.scenario.name,
        seed=setting.plan.seed,
        started_realtime_ns=setting.clock.started_realtime_ns,
        prefix=LOAD_PREFIX,
        members=tuple(host.name for host in setting.plan.initial),
        compacts_itself=any(
            "auto-compaction-retention" in flags
            for flags in (section.flags, *(entry.flags for entry in section.flags_by_version))
        )
        or "ETCD_AUTO_COMPACTION_RETENTION" in section.env,
        versions=tuple(sorted({setting.plan.version(host) for host in setting.plan.initial})),
    )
