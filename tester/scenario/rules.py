"""What the fields alone do not say: rules between the parts of a scenario."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from tester.scenario.mistakes import Mistake, Position, Where
from tester.scenario.model import (
    CaseSection,
    CheckerName,
    ClusterSection,
    FaultKind,
    Limits,
    PartitionPreset,
    TargetKind,
)
from tester.scenario.section import Section
from tester.scenario.tree import Branch, Mapping, Tree, child, find, plain
from tester.targets import objection

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUORUM_BREAKERS: Final = frozenset({TargetKind.MAJORITY, TargetKind.ALL})
_GUARDED_LATER: Final = frozenset({FaultKind.ROLLING_RESTART, FaultKind.PARTITION})
"""Whether these take quorum depends on how many members there are, whatever the target."""
_S = TypeVar("_S", bound=Section)
_OWN_KEYS: Final = {
    "grace": (FaultKind.STOP, FaultKind.RESTART, FaultKind.ROLLING_RESTART),
    "every": (FaultKind.CRASH_LOOP,),
    "partition": (FaultKind.PARTITION,),
    "action": (FaultKind.CLIENT_PORT, FaultKind.PEER_PORT),
}
"""Keys of a case that only some faults have."""


def rule_mistakes(tree: Tree) -> Iterator[Mistake]:
    """Every broken rule, judged on those parts of the file that are right in themselves."""
    cases = dict(_valid_cases(tree))
    yield from _twice(tree)
    for number, case in cases.items():
        yield from _case_mistakes(tree, number, case)
    yield from _checker_mistakes(tree)
    yield from _limit_mistakes(tree, cases)


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
    written = case.model_fields_set
    if case.fault is FaultKind.NONE:
        for key in sorted(written & {"target", "allow_quorum_loss", *_OWN_KEYS}):
            place = _place(tree, "cases", number, key)
            yield Mistake(*place, "means nothing where the fault is none", "remove it")
        return
    for key, faults in _OWN_KEYS.items():
        if key in written and case.fault not in faults:
            place = _place(tree, "cases", number, key)
            hint = f"only for {', '.join(faults)}"
            yield Mistake(*place, f"means nothing for {case.fault}", hint)
    if case.fault is FaultKind.PARTITION:
        yield from _partition_mistakes(tree, number, case)
    if case.fault is not FaultKind.PARTITION or case.partition is not None:
        yield from _quorum_mistakes(tree, number, case)


def _partition_mistakes(tree: Tree, number: int, case: CaseSection) -> Iterator[Mistake]:
    if "target" in case.model_fields_set:
        place = _place(tree, "cases", number, "target")
        yield Mistake(*place, "means nothing for partition", "partition says who drops whom")
    if case.partition is None:
        hint = f"one of {', '.join(PartitionPreset)}"
        yield Mistake(*_place(tree, "cases", number, "partition"), "is missing", hint)


def _quorum_mistakes(tree: Tree, number: int, case: CaseSection) -> Iterator[Mistake]:
    cluster = _section_of(child(tree, "cluster"), ClusterSection)
    members = cluster.members if cluster is not None else None
    if members is not None:
        problem = objection(case, members)
    elif case.target in _QUORUM_BREAKERS and case.fault not in _GUARDED_LATER and not case.allow_quorum_loss:
        problem = (
            f"{case.fault} of {case.target} takes quorum away: say allow_quorum_loss: true if that is wanted"
        )
    else:
        problem = None
    if problem is not None:
        what, _, hint = problem.partition(": ")
        key = "partition" if case.fault is FaultKind.PARTITION else "target"
        yield Mistake(*_place(tree, "cases", number, key), what, hint)


def _checker_mistakes(tree: Tree) -> Iterator[Mistake]:
    written = child(tree, "checkers")
    names = [plain(item) for item in written.items] if isinstance(written, Branch) else list(CheckerName)
    if isinstance(written, Branch) and not names:
        yield Mistake(*_place(tree, "checkers"), "names nobody to judge", "remove it to have all of them")
    for number, name in enumerate(names):
        if isinstance(name, str) and name in names[:number]:
            yield Mistake(*_place(tree, "checkers", number), f"'{name}' is named twice", "keep one")
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
    if needed > limits.round:
        yield Mistake(
            *_place(tree, "limits", "round"),
            f"a round may take {limits.round:g}s, and its cases need more than {needed:g}s",
            "allow more, or hold less",
        )
