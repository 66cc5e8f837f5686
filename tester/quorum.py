"""Whether faults leave the cluster a quorum: before a run, on paper; at an injection, with those that are active."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING, Final

from tester.errors import FaultIneffectiveError
from tester.partitions import keeps_quorum, resolve_cuts
from tester.scenario.faults import PartitionSection
from tester.scenario.target import TargetWord
from tester.targets import Reach, Roles, largest, quorum

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tester.partitions import Cut
    from tester.scenario.faults import FaultSection
    from tester.scenario.model import CaseSection

_COMBINATIONS: Final = 500
"""Ways to choose who is down that are tried: all of them up to eleven members."""


@dataclass(frozen=True, slots=True)
class Impact:
    """One active fault: on whom, and what its members drop."""

    fault: FaultSection
    members: tuple[str, ...]
    cuts: Mapping[str, Cut]

    @property
    def at_once(self) -> tuple[str, ...]:
        """Whom it hits at one time: all of them, or one after the other."""
        return self.members[:1] if self.fault.one_at_a_time else self.members

    @property
    def down(self) -> tuple[str, ...]:
        """Who of them counts as down. A partition counts by the links it cuts."""
        return self.at_once if self.fault.downs and not self.cuts else ()


def refuse(case: CaseSection, impacts: Sequence[Impact], roles: Roles, bound: int | None) -> None:
    """See that all these faults may be active at one time.

    Args:
        case: whose faults they are.
        impacts: those that are active, and the one that is to come.
        roles: of the members now.
        bound: members hit at once at most, says the inventory.

    Raises:
        FaultIneffectiveError: they would take quorum away and the case does not allow it, or hit too many.
    """
    hit = tuple(dict.fromkeys(name for impact in impacts for name in impact.at_once))
    what = " + ".join(impact.fault.kind() for impact in impacts)
    if not case.allow_quorum_loss and not _leaves_quorum(impacts, roles):
        raise FaultIneffectiveError(
            f"case {case.name}: {what} of {', '.join(hit)} would take quorum from {', '.join(roles.voters)}",
            remedy="say allow_quorum_loss: true in the case if that is wanted",
        )
    if bound is not None and len(hit) > bound:
        raise FaultIneffectiveError(
            f"case {case.name}: would hit {len(hit)} members, and etcd_chaos_max_faulted is {bound}"
        )


def _leaves_quorum(impacts: Iterable[Impact], roles: Roles) -> bool:
    down = {name for impact in impacts for name in impact.down}
    links = [impact.cuts for impact in impacts if impact.cuts]
    if not links:
        return len(set(roles.voters) - down) >= quorum(len(roles.voters))
    return keeps_quorum(links, roles.voters, down)


def most_at_once(case: CaseSection, voters: Collection[str], learners: Sequence[str] = ()) -> int:
    """How many members a case hits at one time at most."""
    hit = sum(_most(fault, voters, learners).members for fault in case.faults)
    return min(len(voters) + len(learners), hit)


def objection(case: CaseSection, voters: Collection[str], learners: Sequence[str] = ()) -> str | None:
    """Why a case must not or cannot run on a cluster of these members; ``None`` if it may.

    Its faults are judged as if all were active at one time, each on other members unless it says ``same``.
    A learner has no vote, and counts for nothing here.
    """
    members = f"a cluster of {len(voters)} member{'s' if len(voters) != 1 else ''}"
    down = 0
    for fault in case.faults:
        if isinstance(fault, PartitionSection):
            try:
                _example(fault, voters)
            except FaultIneffectiveError as error:
                return error.message
            continue
        members_hit, count = _most(fault, voters, learners)
        if members_hit == 0 and not fault.target.is_only(TargetWord.SAME):
            return f"target {fault.target} means nobody in {members}"
        if fault.kind() == "isolate" and len(voters) < 2:
            return f"nobody can be isolated in {members}: it has no peer traffic"
        if fault.downs:
            down += min(1, count) if fault.one_at_a_time else count
    if case.allow_quorum_loss:
        return None
    if len(voters) - min(down, len(voters)) < quorum(len(voters)):
        return _too_many(case, down, voters)
    return _partition_objection(case, down, tuple(voters))


def _too_many(case: CaseSection, down: int, voters: Collection[str]) -> str:
    target = f" of {case.faults[0].target}" if len(case.faults) == 1 else ""
    return (
        f"{case.title}{target} ({min(down, len(voters))} of {len(voters)}) takes quorum away: "
        "say allow_quorum_loss: true if that is wanted"
    )


def _partition_objection(case: CaseSection, down: int, voters: tuple[str, ...]) -> str | None:
    """Whether links that are cut and members that are down might together take quorum, wherever they fall."""
    partitions = [fault for fault in case.faults if isinstance(fault, PartitionSection)]
    if not partitions or all(
        keeps_quorum(cuts, voters, {*chosen, *_same_down(case, cuts)})
        for cuts in _cuts_in_examples(partitions, voters)
        for chosen in islice(combinations(voters, down), _COMBINATIONS)
    ):
        return None
    preset = partitions[0].partition
    what = f"partition {preset}" if preset else "this partition"
    beside = f" with {down} of them down" if down else ""
    return (
        f"{what} takes quorum away from {len(voters)} members{beside}: "
        "say allow_quorum_loss: true if that is wanted"
    )


def _cuts_in_examples(
    partitions: Sequence[PartitionSection], voters: tuple[str, ...]
) -> Iterator[list[dict[str, Cut]]]:
    for leader in voters:
        for seed in range(4):
            roles = Roles(voters, leader)
            try:
                yield [
                    resolve_cuts(one, roles, random.Random(seed), same=voters[:1])  # noqa: S311 - an example
                    for one in partitions
                ]
            except FaultIneffectiveError:
                continue  # who is named leads, so that nobody is left: said when it is injected


def _same_down(case: CaseSection, cuts: Sequence[Mapping[str, Cut]]) -> tuple[str, ...]:
    """Who of a partition that comes first is also taken down by a later fault."""
    first, *others = case.faults
    if not isinstance(first, PartitionSection):
        return ()
    also = any(fault.downs and fault.target.is_only(TargetWord.SAME) for fault in others)
    return tuple(cuts[0]) if also else ()


def _most(fault: FaultSection, voters: Collection[str], learners: Sequence[str]) -> Reach:
    if isinstance(fault, PartitionSection):
        try:
            return Reach(*[len(_example(fault, voters))] * 2)
        except FaultIneffectiveError:
            return Reach()
    if fault.target.is_only(TargetWord.SAME):
        return Reach()  # nobody who is not hit already
    reach = largest(fault.target, voters, learners)
    return Reach(*(min(1, count) for count in reach)) if fault.one_at_a_time else reach


def _example(fault: PartitionSection, voters: Collection[str]) -> dict[str, Cut]:
    """As a run might draw them: how many there are does not depend on the draw."""
    names = tuple(voters)
    roles = Roles(names, names[0] if names else None)
    return resolve_cuts(fault, roles, random.Random(0))  # noqa: S311 - an example
