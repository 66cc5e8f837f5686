"""What a run will do: which hosts, which cases in which order, from which seed. Pure.

Randomness is one seed, printed, and a stream of its own for every purpose: ``stream(seed, "order", 3)``
orders round 3, ``stream(seed, "target", 3, "kill-one")`` draws who is hit by that case. No stream depends on
how long anything took or what was drawn before, so a run with the same seed asks for the same things even
where the cluster answers differently: only ``leader`` and ``follower`` follow the cluster as it is.
"""

from __future__ import annotations

import random
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tester.errors import InventoryError, ScenarioError
from tester.learners import missing_learners, wants_learner
from tester.nemesis import draw_cases, menu_of, menu_problems
from tester.orchestration.scripts import program_of
from tester.order import draw_order
from tester.quorum import most_at_once, objection
from tester.scenario.actions import ChangeVersionSection, RefuseVersionSection
from tester.scenario.faults import NetworkSection, PartitionSection, PowerOffSection
from tester.scenario.faults.hosts import ExternalSection
from tester.scenario.mistakes import suggestion
from tester.scenario.model import WorkersOn
from tester.scenario.stressers import KvStresser
from tester.scenario.target import TargetWord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_service.models import HostInfo
    from tester.inventory import Host, Inventory
    from tester.scenario.faults import FaultSection
    from tester.scenario.model import CaseSection, Scenario

MAX_MEMBERS: Final = 15
"""As the wire has it: ``MemberSpec.initial_cluster``."""
MAX_WORKERS: Final = 256
"""As the wire has it: ``LoadOrder.workers``."""


def draw_seed() -> int:
    """A seed nobody chose: short enough to be typed again."""
    return secrets.randbits(32)


def stream(seed: int, *purpose: str | int) -> random.Random:
    """The random generator of one purpose; the same for the same seed and purpose, everywhere."""
    return random.Random("/".join(map(str, (seed, *purpose))))  # noqa: S311 - has to repeat, guards nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """A run as it is meant. Rounds count from 1."""

    scenario: Scenario
    hosts: tuple[Host, ...]
    """The members' hosts, in the order of their names."""
    seed: int
    rounds: int
    max_faulted: int | None
    """Members hit at once at most, says the inventory."""
    load_hosts: tuple[Host, ...] = ()
    """Where load workers run; empty: beside the tester. No fault hits them, and they have no vote."""

    @property
    def workers(self) -> int:
        """Of all places together."""
        return self.scenario.workers * (len(self.load_hosts) or 1)

    @property
    def etcd_version(self) -> str:
        """Of the members; more than one where their hosts differ."""
        return ", ".join(sorted({self.version(host) for host in self.hosts}))

    @property
    def initial(self) -> tuple[Host, ...]:
        """The hosts whose members the cluster starts with; the others are spares."""
        return self.hosts[: self.scenario.cluster.initial]

    def cases(self, number: int) -> tuple[CaseSection, ...]:
        """The cases of a round in its order: those of the file, then those that are drawn."""
        cases = list(self.scenario.cases)
        if self.scenario.nemesis is not None:
            voters = tuple(host.name for host in self.hosts)
            draw = stream(self.seed, "nemesis", number)
            cases += draw_cases(self.scenario.nemesis, voters, self.max_faulted, draw)
        if self.scenario.shuffle:
            return draw_order(cases, stream(self.seed, "order", number))
        return tuple(cases)

    def target_stream(self, number: int, case: CaseSection, fault: int = 0) -> random.Random:
        """The generator that draws who is hit by a case's fault (counted from 0) in a round."""
        nth = (fault,) if fault else ()
        return stream(self.seed, "target", number, case.name, *nth)

    def action_stream(self, number: int, case: CaseSection, action: int) -> random.Random:
        """The generator that draws whom a case's action (counted from 0) means in a round."""
        return stream(self.seed, "action", number, case.name, action)

    def load_stream(self, number: int) -> random.Random:
        """The generator of the load of a round."""
        return stream(self.seed, "load", number)

    def version(self, host: Host) -> str:
        """The etcd version that a host runs."""
        version = self.scenario.cluster.version or host.default_version
        if version is None:
            raise InventoryError(
                f"host {host.name}: no etcd version is known", remedy="run playbooks/deploy.yml"
            )
        return version


def make_plan(
    scenario: Scenario, inventory: Inventory, *, seed: int | None = None, rounds: int | None = None
) -> Plan:
    """Fit a scenario to an inventory. A ``seed`` or ``rounds`` given here outrank the scenario's.

    Raises:
        ScenarioError: the scenario does not fit; the message has every reason.
    """
    wanted = scenario.cluster.members
    hosts = inventory.hosts[:wanted]
    problems = list(_problems(scenario, inventory, hosts))
    if problems:
        raise ScenarioError(
            "\n".join(f"scenario {scenario.name} on {inventory.source}: {problem}" for problem in problems),
            remedy="change the scenario, or give it other hosts",
        )
    chosen = seed if seed is not None else scenario.seed
    return Plan(
        scenario=scenario,
        hosts=hosts,
        seed=draw_seed() if chosen is None else chosen,
        rounds=scenario.rounds if rounds is None else rounds,
        max_faulted=inventory.max_faulted,
        load_hosts=inventory.load_hosts if scenario.workers_on is WorkersOn.LOAD else (),
    )


def _problems(scenario: Scenario, inventory: Inventory, hosts: tuple[Host, ...]) -> Iterator[str]:
    wanted = scenario.cluster.members
    if wanted is not None and wanted > len(hosts):
        yield f"cluster.members is {wanted}, and there are {len(hosts)} hosts"
        return
    if len(hosts) > MAX_MEMBERS:
        yield f"{len(hosts)} hosts, and a cluster has at most {MAX_MEMBERS}: set cluster.members"
        return
    initial = scenario.cluster.initial
    if initial is not None and initial > len(hosts):
        yield f"cluster.initial is {initial}, and there are {len(hosts)} hosts"
        return
    version = scenario.cluster.version
    for host in hosts:
        if version is not None and version not in host.versions:
            have = ", ".join(host.versions) or "none"
            yield f"host {host.name} has no etcd {version} (has {have}): add it to etcd_builds and deploy"
        if version is None and host.default_version is None:
            yield f"host {host.name} has no etcd: add it to etcd_builds and run playbooks/deploy.yml"
        yield from _version_problems(scenario, host)
    names = {host.name for host in hosts}
    for number, stresser in enumerate(scenario.stressers, start=1):
        member = stresser.member if isinstance(stresser, KvStresser) else None
        if member is not None and member not in names:
            yield f"stresser {number}: {member} is none of the members: {', '.join(sorted(names))}"
    yield from _load_problems(scenario, inventory)
    changes = [case.name for case in scenario.cases if case.changes_members]
    apart = scenario.workers > 1 or scenario.workers_on is WorkersOn.LOAD
    if apart and (changes or initial is not None):
        where = ", ".join(changes) or "cluster.initial"
        yield (
            f"members come and go ({where}), which workers cannot follow: "
            "set workers to 1, and workers_on to tester"
        )
    yield from _case_problems(scenario, tuple(host.name for host in hosts), inventory.max_faulted)


def _load_problems(scenario: Scenario, inventory: Inventory) -> Iterator[str]:
    if scenario.workers_on is not WorkersOn.LOAD:
        return
    hosts = len(inventory.load_hosts)
    if not hosts:
        yield "workers_on is load, and the inventory has no group load with hosts: add it and run deploy.yml"
    if not scenario.stressers:
        yield "workers_on is load, and there are no stressers that could run there"
    if scenario.workers * hosts > MAX_WORKERS:
        yield f"{scenario.workers} workers on each of {hosts} load hosts: at most {MAX_WORKERS} in all"


def _case_problems(scenario: Scenario, voters: tuple[str, ...], bound: int | None) -> Iterator[str]:
    lacking_learner = {
        one.case: f"{one.what}: {one.remedy}"
        for one in missing_learners(scenario.cases, shuffled=scenario.shuffle)
    }
    for number, case in enumerate(scenario.cases):
        learners = voters[-1:] if any(wants_learner(fault.target) for fault in case.faults) else ()
        if strangers := [name for name in _named(case) if name not in voters]:
            hint = suggestion(strangers[0], [*voters, *TargetWord])
            yield f"case {case.name}: {', '.join(strangers)} is no member: {hint}"
        elif number in lacking_learner:
            yield f"case {case.name}: {lacking_learner[number]}"
        elif problem := objection(case, voters[: len(voters) - len(learners)], learners):
            yield f"case {case.name}: {problem}"
        elif bound is not None and (count := most_at_once(case, voters, learners)) > bound:
            yield f"case {case.name}: hits {count} members, and etcd_chaos_max_faulted is {bound}"
        yield from _script_problems(case)
    if scenario.nemesis is not None:
        yield from menu_problems(scenario.nemesis, voters, bound)


def _script_problems(case: CaseSection) -> Iterator[str]:
    for fault in case.faults:
        if isinstance(fault, ExternalSection) and shutil.which(program_of(fault.script)) is None:
            yield f"case {case.name}: no program {fault.script} that could be run, seen from {Path.cwd()}"


def _version_problems(scenario: Scenario, host: Host) -> Iterator[str]:
    for case in scenario.cases:
        for action in case.actions:
            if (
                isinstance(action, ChangeVersionSection | RefuseVersionSection)
                and action.to not in host.versions
            ):
                have = ", ".join(host.versions) or "none"
                yield f"case {case.name}: host {host.name} has no etcd {action.to} (has {have})"


def _named(case: CaseSection) -> Iterator[str]:
    """Members that a case names."""
    for action in case.actions:
        if (target := getattr(action, "target", None)) is not None:
            yield from target.names
    for fault in case.faults:
        yield from fault.target.names
        if isinstance(fault, PartitionSection):
            for who, whom in (fault.drops or {}).items():
                yield from (*who.names, *whom.names)
        elif isinstance(fault, NetworkSection):
            yield from fault.towards or ()


def lacking(plan: Plan, hosts: Mapping[str, HostInfo]) -> tuple[str, ...]:
    """What hosts cannot do although the plan may ask for it, one line each: any host may be hit.

    Args:
        plan: the run.
        hosts: what the agents said, by host; nothing is said about a host that is not there.
    """
    faults: list[FaultSection] = [fault for case in plan.scenario.cases for fault in case.faults]
    if plan.scenario.nemesis is not None:
        faults += [item.fault for item in menu_of(plan.scenario.nemesis)]
    kinds = [kind for kind in dict.fromkeys(fault.on_agent for fault in faults) if kind is not None]
    loaded = {host.name for host in plan.load_hosts}
    lines = [
        f"host {name} can hold no load: {info.load_lacks}"
        for name, info in hosts.items()
        if name in loaded and info.load_lacks
    ]
    for name, info in hosts.items():
        if name in loaded:
            continue  # no fault hits it
        capabilities = {capability.kind: capability for capability in info.capabilities}
        for kind in kinds:
            capability = capabilities.get(kind)
            if capability is None:
                lines.append(f"host {name}: its agent does not know fault {kind}")
            elif not capability.available:
                lines.append(f"host {name} cannot do fault {kind}: {capability.reason}")
    if any(isinstance(fault, PowerOffSection) for fault in faults):
        lines += [
            f"host {host.name}: nobody could switch it on again; name a script with etcd_chaos_power_on"
            for host in plan.hosts
            if host.power_on is None
        ]
    return tuple(lines)
