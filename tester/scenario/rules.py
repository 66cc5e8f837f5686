"""What the fields alone do not say: rules between the parts of a scenario."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tester.actions.kinds import NEEDS_FAULT
from tester.learners import missing_learners, wants_learner
from tester.quorum import objection
from tester.scenario.actions import ExceedQuotaSection, MistakesSection
from tester.scenario.disaster import disaster_mistakes, stresser_mistakes
from tester.scenario.faults import (
    CorruptFileSection,
    DiskSection,
    FailpointSection,
    NetworkSection,
    PartitionPreset,
    PartitionSection,
)
from tester.scenario.mistakes import Mistake, Position, Where
from tester.scenario.model import (
    CaseSection,
    CheckerName,
    ClusterSection,
    DiskKind,
    Limits,
    NemesisSection,
    Tls,
    Transport,
    WorkersOn,
)
from tester.scenario.section import Section
from tester.scenario.target import TargetWord
from tester.scenario.tree import Branch, Mapping, Tree, child, find, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.scenario.faults import FaultSection

_S = TypeVar("_S", bound=Section)


def rule_mistakes(tree: Tree) -> Iterator[Mistake]:
    """Every broken rule, judged on those parts of the file that are right in themselves."""
    cases = dict(_valid_cases(tree))
    yield from _nothing(tree)
    yield from _twice(tree)
    for number, case in cases.items():
        yield from _case_mistakes(tree, number, case)
    yield from _learner_mistakes(tree, cases)
    yield from _menu_mistakes(tree)
    yield from _checker_mistakes(tree)
    yield from _limit_mistakes(tree, cases)
    yield from _transport_mistakes(tree)
    yield from _worker_mistakes(tree, cases)
    yield from stresser_mistakes(tree, cases.values())


def _place(tree: Tree, *where: str | int) -> tuple[Position, Where]:
    return find(tree, where).position, where


def _section_of(tree: Tree | None, model: type[_S]) -> _S | None:
    if tree is None:
        return None
    try:
        return model.model_validate_json(json.dumps(plain(tree)), strict=True)
    except ValidationError:
        return None  # its fields have mistakes of their own; a rule has nothing to judge


def _valid_cases(tree: Tree) -> Iterator[tuple[int, CaseSection]]:
    cases = child(tree, "cases")
    for number, part in enumerate(cases.items if isinstance(cases, Branch) else ()):
        case = _section_of(part, CaseSection)
        if case is not None:
            yield number, case


def _nothing(tree: Tree) -> Iterator[Mistake]:
    cases = child(tree, "cases")
    empty = cases is None or (isinstance(cases, Branch) and not cases.items)
    if empty and child(tree, "nemesis") is None and child(tree, "include") is None:
        yield Mistake(*_place(tree, "cases"), "is missing", "a scenario needs cases, or nemesis: random")


def _twice(tree: Tree) -> Iterator[Mistake]:
    lines: dict[object, int] = {}
    cases = child(tree, "cases")
    for number, part in enumerate(cases.items if isinstance(cases, Branch) else ()):
        name = child(part, "name")
        value = plain(name) if name else None
        if name is None or not isinstance(value, str):
            continue
        if value in lines:
            hint = f"first on line {lines[value]}: give each case a name of its own"
            yield Mistake(name.position, ("cases", number, "name"), f"'{value}' is used twice", hint)
        lines.setdefault(value, name.position.line)


def _case_mistakes(tree: Tree, number: int, case: CaseSection) -> Iterator[Mistake]:
    found = False
    for index, fault in enumerate(case.faults):
        where: Where = ("cases", number, "faults", index)
        for mistake in (
            *_fault_mistakes(tree, where, fault),
            *_failpoint_mistakes(tree, where, fault),
            *_disk_mistakes(tree, where, fault),
            *_time_mistakes(tree, where, fault, case, index),
            *_late_mistakes(tree, where, fault, case.hold),
        ):
            found = True
            yield mistake
    if not found and case.faults:
        yield from _quorum_mistakes(tree, number, case)
    yield from _waiting_mistakes(tree, number, case)
    yield from disaster_mistakes(tree, number, case)


def _waiting_mistakes(tree: Tree, number: int, case: CaseSection) -> Iterator[Mistake]:
    """What waits for something that never comes."""
    if case.until is not None and not case.faults:
        place = _place(tree, "cases", number, "until")
        yield Mistake(
            *place, "means nothing where the fault is none", "nobody is away who could lack entries"
        )
    if case.until is not None and not case.load:
        place = _place(tree, "cases", number, "until")
        yield Mistake(*place, "waits for entries that nobody writes", "take load: false out")
    every = [index for index, fault in enumerate(case.faults) if fault.for_each]
    for index in every[1:]:
        place = _place(tree, "cases", number, "faults", index, "every")
        yield Mistake(*place, "a second one in a case", "name failpoints with terms")
    for index, action in enumerate(case.actions):
        where: Where = ("cases", number, "actions", index)
        if action.last and case.until is None:
            yield Mistake(
                *_place(tree, *where, "last"), "waits for nothing", "say until: snapshot in the case"
            )
        unbroken = action.first or not any(fault.downs for fault in case.faults)
        if (
            isinstance(action, MistakesSection)
            and unbroken
            and (early := NEEDS_FAULT.intersection(action.make))
        ):
            yield Mistake(
                *_place(tree, *where, "make"),
                f"{', '.join(sorted(early))}: etcd rightly accepts that while every member is up",
                "make it in a case whose fault takes a member down, and not first",
            )
        if isinstance(action, ExceedQuotaSection) and case.faults and index + 1 < len(case.actions):
            yield Mistake(
                *_place(tree, *where, "action"),
                "comes before other actions, and nothing takes writes until the faults are healed",
                "make it the last action of the case, or leave the fault out",
            )
        if action.first and action.last:
            yield Mistake(*_place(tree, *where, "last"), "means nothing beside first", "keep one")
        target = getattr(action, "target", None)
        if target is not None and target.is_only(TargetWord.SAME) and (action.first or not case.faults):
            hint = "name a role or a member"
            yield Mistake(
                *_place(tree, *where, "target"), "no fault hits anybody who could be the same", hint
            )


def _failpoint_mistakes(tree: Tree, where: Where, fault: FaultSection) -> Iterator[Mistake]:
    if not isinstance(fault, FailpointSection):
        return
    if not fault.terms and fault.every is None:
        yield Mistake(*_place(tree, *where, "terms"), "is missing", "or every, for each failpoint there is")
    elif fault.terms and fault.every is not None:
        yield Mistake(*_place(tree, *where, "every"), "means nothing beside terms", "keep one")


def _fault_mistakes(tree: Tree, where: Where, fault: FaultSection) -> Iterator[Mistake]:
    if not isinstance(fault, PartitionSection):
        return
    written = fault.model_fields_set
    if "target" in written:
        yield Mistake(
            *_place(tree, *where, "target"), "means nothing for partition", "partition says who drops whom"
        )
    if fault.partition is None and fault.drops is None:
        hint = f"one of {', '.join(PartitionPreset)}; or drops, who drops whom in full"
        yield Mistake(*_place(tree, *where, "partition"), "is missing", hint)
    if fault.partition is not None:
        for key in sorted(written & {"drops", "direction"}):
            yield Mistake(
                *_place(tree, *where, key), f"means nothing beside partition: {fault.partition}", "keep one"
            )


def _disk_mistakes(tree: Tree, where: Where, fault: FaultSection) -> Iterator[Mistake]:
    if isinstance(fault, CorruptFileSection) and fault.target.is_only(
        TargetWord.MAJORITY, TargetWord.QUORUM, TargetWord.ALL
    ):
        what = f"damages files of {fault.target}: what a majority has lost is lost"
        yield Mistake(*_place(tree, *where, "target"), what, "a minority at most")
    if not isinstance(fault, DiskSection):
        return
    written = child(tree, "cluster")
    cluster = ClusterSection() if written is None else _section_of(written, ClusterSection)
    if cluster is not None and cluster.disk is not DiskKind.FUSE:
        hint = "write cluster: {disk: fuse}"
        yield Mistake(*_place(tree, *where, "fault"), f"{fault.kind()} needs a disk layer", hint)


def _time_mistakes(
    tree: Tree, where: Where, fault: FaultSection, case: CaseSection, index: int
) -> Iterator[Mistake]:
    if fault.after and fault.after >= case.hold:
        what = f"the case holds for {case.hold:g}s, so this fault would never come"
        yield Mistake(*_place(tree, *where, "after"), what, "hold longer, or inject it sooner")
    if fault.after and all(other.after for other in case.faults):
        yield Mistake(
            *_place(tree, *where, "after"), "no fault of the case comes first", "leave out one after"
        )
    if index == 0 and any(term.who is TargetWord.SAME for term in fault.target.terms):
        yield Mistake(
            *_place(tree, *where, "target"), "same: there is no fault before it", "it is for the later ones"
        )
    if fault.flap is not None and fault.lasts is not None:
        yield Mistake(*_place(tree, *where, "flap"), "means nothing beside lasts", "keep one")
    if fault.flap is not None and fault.one_at_a_time:
        yield Mistake(*_place(tree, *where, "flap"), f"means nothing for {fault.kind()}", "remove it")


def _late_mistakes(tree: Tree, where: Where, fault: FaultSection, hold: float) -> Iterator[Mistake]:
    """What would hold packets up until the healing lets them pass is a cut, whatever delay it asks for."""
    if not isinstance(fault, NetworkSection) or not fault.delay_seconds:
        return
    there = fault.flap.on if fault.flap is not None else hold - fault.after
    there = min(there, fault.lasts or there)
    if there <= fault.delay_seconds:
        what = (
            f"packets are {fault.delay_seconds:g}s late, and the fault is there for {there:g}s: none arrives"
        )
        key = "preset" if fault.preset is not None else "delay"
        yield Mistake(*_place(tree, *where, key), what, "hold it longer than its delay, or cut with isolate")


def _quorum_mistakes(tree: Tree, number: int, case: CaseSection) -> Iterator[Mistake]:
    cluster = _section_of(child(tree, "cluster"), ClusterSection)
    members = cluster.members if cluster is not None else None
    if members is not None:
        learners = ("learner",) if any(wants_learner(fault.target) for fault in case.faults) else ()
        problem = objection(case, tuple(map(str, range(members - len(learners)))), learners)
    elif not case.allow_quorum_loss and any(
        fault.downs
        and not fault.one_at_a_time
        and fault.target.is_only(TargetWord.MAJORITY, TargetWord.QUORUM, TargetWord.ALL)
        for fault in case.faults
    ):
        target = f" of {case.faults[0].target}" if len(case.faults) == 1 else ""
        problem = f"{case.title}{target} takes quorum away: say allow_quorum_loss: true if that is wanted"
    else:
        problem = None
    if problem is not None:
        what, _, hint = problem.partition(": ")
        where: Where = ("cases", number, "faults")
        if len(case.faults) == 1:
            where = (*where, 0, "partition" if isinstance(case.faults[0], PartitionSection) else "target")
        yield Mistake(*_place(tree, *where), what, hint)


def _learner_mistakes(tree: Tree, cases: dict[int, CaseSection]) -> Iterator[Mistake]:
    shuffle = child(tree, "shuffle")
    shuffled = shuffle is not None and plain(shuffle) is True
    numbers = list(cases)
    for missing in missing_learners(list(cases.values()), shuffled=shuffled):
        where: Where = ("cases", numbers[missing.case], missing.part, missing.index, "target")
        yield Mistake(*_place(tree, *where), missing.what, missing.remedy)


def _menu_mistakes(tree: Tree) -> Iterator[Mistake]:
    nemesis = _section_of(child(tree, "nemesis"), NemesisSection)
    for number, item in enumerate(nemesis.menu if nemesis is not None else ()):
        where: Where = ("nemesis", "menu", number, "fault")
        yield from _fault_mistakes(tree, where, item.fault)
        yield from _disk_mistakes(tree, where, item.fault)
        yield from _late_mistakes(tree, where, item.fault, nemesis.hold if nemesis is not None else 0.0)
        if item.fault.after:
            yield Mistake(*_place(tree, *where, "after"), "means nothing in a menu", "remove it")


def _checker_mistakes(tree: Tree) -> Iterator[Mistake]:
    written = child(tree, "checkers")
    names = [plain(item) for item in written.items] if isinstance(written, Branch) else list(CheckerName)
    if isinstance(written, Branch) and not names:
        yield Mistake(*_place(tree, "checkers"), "names nobody to judge", "remove it to have all of them")
    for number, name in enumerate(names):
        if isinstance(name, str) and name in names[:number]:
            yield Mistake(*_place(tree, "checkers", number), f"'{name}' is named twice", "keep one")
    limits = child(tree, "limits")
    if (
        CheckerName.AVAILABILITY in names
        and isinstance(written, Branch)
        and not (limits and child(limits, "gap"))
    ):
        yield Mistake(
            *_place(tree, "checkers"),
            "availability needs to know how long a gap in service may be",
            "say so: limits: {gap: 5s}",
        )
    stressers = child(tree, "stressers")
    writes = stressers is not None and not (isinstance(stressers, Branch) and not stressers.items)
    if CheckerName.DURABILITY in names and isinstance(tree, Mapping) and not writes:
        yield Mistake(
            *_place(tree, "checkers"),
            "durability judges acknowledged writes, and nothing writes",
            "add a stresser, or name the checkers without durability",
        )


def _limit_mistakes(tree: Tree, cases: dict[int, CaseSection]) -> Iterator[Mistake]:
    limits = _section_of(child(tree, "limits"), Limits) or Limits()
    needed = sum(case.steady + case.hold + case.settle for case in cases.values())
    nemesis = _section_of(child(tree, "nemesis"), NemesisSection)
    if nemesis is not None:
        needed += nemesis.cases * (nemesis.steady + nemesis.hold + nemesis.settle)
    if needed > limits.round:
        yield Mistake(
            *_place(tree, "limits", "round"),
            f"a round may take {limits.round:g}s, and its cases need more than {needed:g}s",
            "allow more, or hold less",
        )


def _transport_mistakes(tree: Tree) -> Iterator[Mistake]:
    cluster = _section_of(child(tree, "cluster"), ClusterSection)
    transport = child(tree, "transport")
    if cluster is None or transport is None or plain(transport) != Transport.GRPC:
        return
    if cluster.tls is Tls.AUTO:
        hint = "say transport: h2, or tls: own"
        yield Mistake(transport.position, ("transport",), "grpc believes no certificate of tls: auto", hint)


def _worker_mistakes(tree: Tree, cases: dict[int, CaseSection]) -> Iterator[Mistake]:
    """Workers talk to the members that the round began with, and learn of no others."""
    workers, place = child(tree, "workers"), child(tree, "workers_on")
    hosted = place is not None and plain(place) == WorkersOn.LOAD
    if not hosted and (workers is None or plain(workers) == 1):
        return
    cluster = _section_of(child(tree, "cluster"), ClusterSection)
    changes = any(case.changes_members for case in cases.values())
    if changes or (cluster is not None and cluster.initial is not None):
        yield Mistake(
            *_place(tree, "workers_on" if hosted else "workers"),
            "load workers cannot follow a cluster whose members change",
            f"leave {'workers_on' if hosted else 'workers'} out, or the actions and cluster.initial",
        )
