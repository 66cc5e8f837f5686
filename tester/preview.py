"""``--dry-run``: what a plan would do on which hosts, with exact commands and undo. Touches nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent_client.errors import AgentClientError
from tester.faults.specs import fault_spec
from tester.partitions import resolve_cuts
from tester.plan import lacking
from tester.scenario.model import FaultKind, PartitionPreset, TargetKind
from tester.targets import Roles, resolve_targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.models import FaultPlan, FaultSpec, HostInfo
    from tester.inventory import Host
    from tester.partitions import Cut
    from tester.plan import Plan
    from tester.scenario.model import CaseSection

_BY_ROLE = frozenset({TargetKind.LEADER, TargetKind.FOLLOWER})
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
    """A host as it would be used. ``agent`` is its version, or why nothing is known of it."""

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
class CasePreview:
    """A case of the first round. ``certain``: the seed decides the targets; else any one of them is hit."""

    name: str
    fault: str
    target: str
    targets: tuple[str, ...]
    certain: bool
    steady_seconds: float
    hold_seconds: float
    settle_seconds: float
    commands: tuple[Commands, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan, resolved as far as it can be without touching anything."""

    scenario: str
    seed: int
    rounds: int
    shuffle: bool
    hosts: tuple[HostPreview, ...]
    cases: tuple[CasePreview, ...]
    lacking: tuple[str, ...]
    """What hosts cannot do although the plan asks for it: such a run would be refused."""


async def preview(plan: Plan, agents: Mapping[str, PreviewAgent]) -> Preview:
    """Resolve the first round of a plan, asking every agent that can be reached."""
    answers = await asyncio.gather(*(_ask(agents[host.name]) for host in plan.hosts))
    known = {host.name: info for host, info in zip(plan.hosts, answers, strict=True)}
    reached = {name: info for name, info in known.items() if not isinstance(info, str)}
    cases = [await _case(plan, case, agents, known) for case in plan.cases(1)]
    return Preview(
        scenario=plan.scenario.name,
        seed=plan.seed,
        rounds=plan.rounds,
        shuffle=plan.scenario.shuffle,
        hosts=tuple(_host(plan, host, known[host.name]) for host in plan.hosts),
        cases=tuple(cases),
        lacking=lacking(plan, reached),
    )


def _host(plan: Plan, host: Host, info: HostInfo | str) -> HostPreview:
    agent = info if isinstance(info, str) else info.agent_version
    return HostPreview(host.name, host.address, plan.version(host), agent, not isinstance(info, str))


async def _ask(agent: PreviewAgent) -> HostInfo | str:
    try:
        return await agent.check_version()
    except AgentClientError as error:
        return error.message


def _targets(plan: Plan, case: CaseSection) -> tuple[tuple[str, ...], bool]:
    names = tuple(host.name for host in plan.hosts)
    if case.fault is FaultKind.NONE:
        return (), True
    if case.partition is not None:
        uncertain = case.partition in _BY_LEADER
        return (names, False) if uncertain else (tuple(_cuts(plan, case, None)), True)
    if case.target in _BY_ROLE:
        return names, len(names) == 1
    # Every member votes and nobody's role matters: the draw is the one that the run will make.
    roles = Roles(voters=names, leader=None)
    return resolve_targets(case.target, roles, plan.target_stream(1, case)), True


def _cuts(plan: Plan, case: CaseSection, leader: str | None) -> dict[str, Cut]:
    """What would be cut if that member led."""
    if case.partition is None:
        return {}
    roles = Roles(voters=tuple(host.name for host in plan.hosts), leader=leader)
    return resolve_cuts(case.partition, roles, plan.target_stream(1, case))


async def _case(
    plan: Plan, case: CaseSection, agents: Mapping[str, PreviewAgent], known: Mapping[str, HostInfo | str]
) -> CasePreview:
    targets, certain = _targets(plan, case)
    hosts = [host for host in plan.hosts if host.name in targets]
    commands = [_commands(plan, case, host, agents[host.name], known[host.name]) for host in hosts]
    return CasePreview(
        name=case.name,
        fault=case.fault,
        target=case.partition or case.target,
        targets=targets,
        certain=certain,
        steady_seconds=case.steady,
        hold_seconds=case.hold,
        settle_seconds=case.settle,
        commands=tuple(await asyncio.gather(*commands)),
    )


async def _commands(
    plan: Plan, case: CaseSection, host: Host, agent: PreviewAgent, info: HostInfo | str
) -> Commands:
    if isinstance(info, str):
        return Commands(host.name, (), (), "its agent could not be asked")
    try:
        cut = _cuts(plan, case, host.name).get(host.name)
        answer = await agent.plan(fault_spec(case, host, plan.hosts, cut))
    except AgentClientError as error:
        return Commands(host.name, (), (), error.message)
    return Commands(host.name, answer.inject, answer.undo)


def render(shown: Preview, inventory: str) -> str:
    """The preview as lines for a person."""
    rounds = "1 round" if shown.rounds == 1 else f"{shown.rounds} rounds"
    lines = [f"scenario {shown.scenario} on {inventory}, seed {shown.seed}, {rounds}: nothing is touched", ""]
    width = max(len(host.name) for host in shown.hosts)
    addresses = max(len(host.address) for host in shown.hosts)
    for host in shown.hosts:
        agent = f"agent {host.agent}" if host.reachable else f"commands unknown: {host.agent}"
        lines.append(f"{host.name:<{width}}  {host.address:<{addresses}}  etcd {host.etcd_version}  {agent}")
    lines += ["", "round 1"]
    for number, case in enumerate(shown.cases, 1):
        lines += _case_lines(number, case)
    if shown.rounds > 1:
        order = (
            "the same cases, order and targets drawn anew"
            if shown.shuffle
            else "the same, targets drawn anew"
        )
        lines += ["", f"rounds 2 to {shown.rounds}: {order} from the seed"]
    lines += [""] if shown.lacking else []
    lines += [f"cannot run: {line}" for line in shown.lacking]
    return "\n".join(lines)


def _case_lines(number: int, case: CasePreview) -> list[str]:
    if not case.targets:
        what = "no fault"
    elif case.certain:
        what = f"{case.fault} {case.target}: {', '.join(case.targets)}"
    else:
        what = f"{case.fault} {case.target}: one of {', '.join(case.targets)}, by role at injection"
    times = f"steady {case.steady_seconds:g}s, hold {case.hold_seconds:g}s, settle {case.settle_seconds:g}s"
    lines = [f"  {number}. {case.name}: {what} ({times})"]
    for commands in case.commands:
        if commands.problem is not None:
            lines.append(f"       {commands.host}  commands unknown: {commands.problem}")
        lines += [f"       {commands.host}  do    {step}" for step in commands.inject]
        lines += [f"       {commands.host}  undo  {step}" for step in commands.undo]
    return lines
