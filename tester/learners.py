"""Whether a learner can stand when a case wants one: learners come and go by actions alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tester.scenario.actions import AddLearnerSection, PromoteSection
from tester.scenario.target import TargetSum, TargetWord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tester.scenario.model import CaseSection

_REMEDY: Final = "add one before it: an action add-learner in an earlier case, or in this one"


@dataclass(frozen=True, slots=True)
class Missing:
    """A fault (``part`` is ``faults``) or an action (``actions``) of a case wants a learner where there is none."""

    case: int
    part: str
    index: int
    what: str
    remedy: str


def missing_learners(cases: Sequence[CaseSection], *, shuffled: bool) -> Iterator[Missing]:
    """Who targets a learner that no action can have added by then.

    Args:
        cases: in their order, counted from 0 in the answer.
        shuffled: the order is drawn: only what a case does itself comes surely before.
    """
    standing = 0
    for number, case in enumerate(cases):
        before = 0 if shuffled else standing
        own = sum(isinstance(action, AddLearnerSection) for action in case.actions)
        for index, fault in enumerate(case.faults):
            if wants_learner(fault.target) and not before and not (fault.after and own):
                remedy = f"{_REMEDY} with `after` at the fault" if not fault.after else _REMEDY
                yield Missing(
                    number, "faults", index, f"target {fault.target}: no learner stands then", remedy
                )
        for index, action in enumerate(case.actions):
            target: TargetSum | None = getattr(action, "target", None)
            if target is not None and wants_learner(target) and not before:
                yield Missing(number, "actions", index, f"target {target}: no learner stands then", _REMEDY)
            before += isinstance(action, AddLearnerSection) - isinstance(action, PromoteSection)
            before = max(0, before)
        standing = before


def wants_learner(target: TargetSum) -> bool:
    """Whether it means nobody, or fewer, where no learner stands."""
    return any(term.who is TargetWord.LEARNER for term in target.terms)
