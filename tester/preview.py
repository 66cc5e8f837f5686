"""``--dry-run``: what a plan would do on which hosts, with exact commands and undo. Touches nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent_client.errors import AgentClientError
from tester.console import units
from tester.errors import FaultIneffectiveError
from tester.partitions import resolve_cuts
from tester.plan import lacking
from tester.scenario.faults import PartitionPreset, PartitionSection, Place
from tester.targets import Roles, resolve_targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.models import FaultPlan, FaultSpec, HostInfo
    from tester.inventory import Host
    from tester.partitions import Cut
    from tester.plan import Plan
    from tester.scenario.actions import ActionSection
    from tester.scenario.faults import FaultSection
    from tester.scenario.model import CaseSection

_BY_LEADER = frozenset(
    {PartitionPreset.LEADER_ALONE, PartitionPreset.LEADER_TO_FOLLOWERS, PartitionPreset.TO_LEADER}
)


class PreviewAgent(Protocol):
    """The part of ``AgentClient`` that a preview needs: two questions, no change."""

    async def check_version(self) -> HostInfo:
        """What the host is and can do."""

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        """What the fault would do there, and its undo."""


@dataclass(frozen=True, slots=True)
class HostPreview:
    """A host as it would be used. ``agent`` is its version, or why nothing is known of it.

    ``etcd_version`` is empty for one that holds load and no member.
    """

    name: str
    address: str
    etcd_version: str
    agent: str
    reachable: bool


@dataclass(frozen=True, slots=True)
class Commands:
    """On one host: what would be done, and how it would be undone. ``problem``: why that is not known."""

    host: str
    inject: tuple[str, ...]
    undo: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FaultPreview:
    """A fault of a case. ``certain``: the seed decides the targets; else any one of them is hit."""

    fault: str
    target: str
    targets: tuple[str, ...]
    certain: bool
    when: str
    """When it comes and goes, in words; empty if it does so with the case."""
    commands: tuple[Commands, ...]


@dataclass(frozen=True, slots=True)
class CasePreview:
    """A case of the first round."""

    name: str
    faults: tuple[FaultPreview, ...]
    steady_seconds: float
    hold_seconds: float
    settle_seconds: float
    actions: tuple[str, ...] = ()
    """What is done while it is held, in words."""
    until: str = ""
    """What the hold waits for beyond its time; empty: nothing."""
    load: bool = True
    """Whether the load goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan, resolved as far as it can be without touching anything."""

    scenario: str
    seed: int
    rounds: int
    shuffle: bool
    hosts: tuple[HostPreview, ...]
    cases: tuple[CasePreview, ...]
    workers: int
    """Processes of load; on each load host, where there are some."""
    lacking: tuple[str, ...]
    """What hosts cannot do although the plan asks for it: such a run would be refused."""


async def preview(plan: Plan, agents: Mapping[str, PreviewAgent]) -> Preview:
    """Resolve the first round of a plan, asking every agent that can be reached."""
    hosts = (*plan.hosts, *plan.load_hosts)
    answers = await asyncio.gather(*(_ask(agents[host.name]) for host in hosts))
    known = {host.name: info for host, info in zip(hosts, answers, strict=True)}
    reached = {name: info for name, info in known.items() if not isinstance(info, str)}
    cases = [await _case(plan, case, agents, known) for case in plan.cases(1)]
    return Preview(
        scenario=plan.scenario.name,
        seed=plan.seed,
        rounds=plan.rounds,
        shuffle=plan.scenario.shuffle,
        hosts=tuple(_host(plan, host, known[host.name]) for host in hosts),
        cases=tuple(cases),
        workers=plan.scenario.workers,
        lacking=lacking(plan, reached),
    )


def _host(plan: Plan, host: Host, info: HostInfo | str) -> HostPreview:
    agent = info if isinstance(info, str) else info.agent_version
    version = "" if host in plan.load_hosts else plan.version(host)
    return HostPreview(host.name, host.address, version, agent, not isinstance(info, str))


async def _ask(agent: PreviewAgent) -> HostInfo | str:
    try:
        return await agent.check_version()
    except AgentClientError as error:
        return error.message


def _resolve(plan: Plan, case: CaseSection, number: int) -> tuple[tuple[str, ...], bool]:
    """Whom a fault hits, as far as the seed decides it; else everybody it may hit, and ``False``."""
    fault = case.faults[number]
    names = tuple(host.name for host in plan.hosts)
    if isinstance(fault, PartitionSection):
        by_role = [who.by_role or whom.by_role for who, whom in (fault.drops or {}).items()]
        if fault.partition in _BY_LEADER or any(by_role):
            return names, False
        return tuple(_cuts(plan, case, number, None)), True
    if fault.target.by_role or number > 0:  # later ones go out of the way of those before
        return names, len(names) == 1
    # Every member votes and nobody's role matters: the draw is the one that the run will make.
    roles = Roles(voters=names, leader=None)
    return resolve_targets(fault.target, roles, plan.target_stream(1, case, number)), True


def _cuts(plan: Plan, case: CaseSection, number: int, leader: str | None) -> dict[str, Cut]:
    """What would be cut if that member led."""
    fault = case.faults[number]
    if not isinstance(fault, PartitionSection):
        return {}
    roles = Roles(voters=tuple(host.name for host in plan.hosts), leader=leader)
    try:
        return resolve_cuts(fault, roles, plan.target_stream(1, case, number), same=roles.voters[:1])
    except FaultIneffectiveError:
        return {}  # nothing, if that member led


async def _case(
    plan: Plan, case: CaseSection, agents: Mapping[str, PreviewAgent], known: Mapping[str, HostInfo | str]
) -> CasePreview:
    numbers = range(len(case.faults))
    faults = await asyncio.gather(*(_fault(plan, case, number, agents, known) for number in numbers))
    return CasePreview(
        name=case.name,
        faults=tuple(faults),
        steady_seconds=case.steady,
        hold_seconds=case.hold,
        settle_seconds=case.settle,
        actions=tuple(map(_action, case.actions)),
        until=case.until.value if case.until else "",
        load=case.load,
    )


def _action(action: ActionSection) -> str:
    said = action.model_dump(exclude={"action"}, exclude_unset=True, mode="json")
    keys = ", ".join(f"{key} {value}" for key, value in said.items())
    return f"{action.kind()} ({keys})" if keys else action.kind()


async def _fault(
    plan: Plan,
    case: CaseSection,
    number: int,
    agents: Mapping[str, PreviewAgent],
    known: Mapping[str, HostInfo | str],
) -> FaultPreview:
    fault = case.faults[number]
    targets, certain = _resolve(plan, case, number)
    hosts = [host for host in plan.hosts if host.name in targets]
    commands = [_commands(plan, case, number, host, agents[host.name], known[host.name]) for host in hosts]
    target = str(fault.target)
    if isinstance(fault, PartitionSection):
        drops = (f"{who} drops {whom}" for who, whom in (fault.drops or {}).items())
        target = fault.partition or ", ".join(drops)
    return FaultPreview(
        fault=fault.kind(),
        target=target,
        targets=targets,
        certain=certain,
        when=_when(fault),
        commands=tuple(await asyncio.gather(*commands)),
    )


def _when(fault: FaultSection) -> str:
    parts = []
    if fault.after:
        parts.append(f"after {fault.after:g}s")
    if fault.lasts is not None:
        parts.append(f"for {fault.lasts:g}s")
    if fault.flap is not None:
        parts.append(f"{fault.flap.on:g}s on, {fault.flap.off:g}s off")
    return ", ".join(parts)


async def _commands(
    plan: Plan, case: CaseSection, number: int, host: Host, agent: PreviewAgent, info: HostInfo | str
) -> Commands:
    fault: FaultSection = case.faults[number]
    if fault.on_agent is None:
        return Commands(host.name, (), (), "agents have no part in it")
    if fault.for_each:
        return Commands(host.name, (), (), "a case for each failpoint that its etcd will name")
    if isinstance(info, str):
        return Commands(host.name, (), (), "its agent could not be asked")
    cut = _cuts(plan, case, number, host.name).get(host.name)
    if isinstance(fault, PartitionSection) and cut is None:
        return Commands(host.name, (), (), "it drops nothing if it leads")
    try:
        answer = await agent.plan(fault.spec(Place(host, plan.hosts, cut)))
    except AgentClientError as error:
        return Commands(host.name, (), (), error.message)
    return Commands(host.name, answer.inject, answer.undo)


def render(shown: Preview, inventory: str) -> str:
    """The preview as lines for a person."""
    rounds = units.rounds(shown.rounds)
    lines = [f"scenario {shown.scenario} on {inventory}, seed {shown.seed}, {rounds}: nothing is touched", ""]
    width = max(len(host.name) for host in shown.hosts)
    addresses = max(len(host.address) for host in shown.hosts)
    for host in shown.hosts:
        agent = f"agent {host.agent}" if host.reachable else f"commands unknown: {host.agent}"
        what = f"etcd {host.etcd_version}" if host.etcd_version else f"load, {_workers(shown.workers)}"
        lines.append(f"{host.name:<{width}}  {host.address:<{addresses}}  {what}  {agent}")
    lines += ["", "round 1"]
    for number, case in enumerate(shown.cases, 1):
        lines += _case_lines(number, case)
    if shown.rounds != 1:
        order = (
            "the same cases, order and targets drawn anew"
            if shown.shuffle
            else "the same, targets drawn anew"
        )
        others = f"rounds 2 to {shown.rounds}" if shown.rounds else "rounds after it"
        lines += ["", f"{others}: {order} from the seed"]
    lines += [""] if shown.lacking else []
    lines += [f"cannot run: {line}" for line in shown.lacking]
    return "\n".join(lines)


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _case_lines(number: int, case: CasePreview) -> list[str]:
    times = f"steady {case.steady_seconds:g}s, hold {case.hold_seconds:g}s, settle {case.settle_seconds:g}s"
    whats = [_what(fault) for fault in case.faults] or ["no fault"]
    lines = [f"  {number}. {case.name}: {whats[0]} ({times})"]
    for index, what in enumerate(whats):
        if index:
            lines.append(f"     and {what}")
        lines += _command_lines(case.faults[index].commands) if case.faults else []
    lines += [] if case.load else ["     without load"]
    lines += [f"     action {action}" for action in case.actions]
    return [*lines, f"     until {case.until}"] if case.until else lines


def _what(fault: FaultPreview) -> str:
    when = f" ({fault.when})" if fault.when else ""
    if fault.certain:
        return f"{fault.fault} {fault.target}{when}: {', '.join(fault.targets)}"
    return f"{fault.fault} {fault.target}{when}: one of {', '.join(fault.targets)}, by role at injection"


def _command_lines(commands: tuple[Commands, ...]) -> list[str]:
    lines: list[str] = []
    for each in commands:
        if each.problem is not None:
            lines.append(f"       {each.host}  commands unknown: {each.problem}")
        lines += [f"       {each.host}  do    {step}" for step in each.inject]
        lines += [f"       {each.host}  undo  {step}" for step in each.undo]
    return lines
