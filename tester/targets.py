"""Who is hit: from the cluster's roles at a moment to member names. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.errors import FaultIneffectiveError
from tester.partitions import keeps_quorum, resolve_cuts
from tester.scenario.model import CaseSection, FaultKind, TargetKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tester.partitions import Cut


@dataclass(frozen=True, slots=True)
class Roles:
    """The members' roles at one moment. ``leader`` is ``None`` while nobody leads.

    ``voters`` are in the order of their hosts in the plan: draws depend on it, so a run can be replayed.
    """

    voters: tuple[str, ...]
    leader: str | None
    learners: tuple[str, ...] = ()


def quorum(voters: int) -> int:
    """How many of so many voters a majority is."""
    return voters // 2 + 1


def target_count(kind: TargetKind, voters: int) -> int:
    """How many members a target means in a cluster of so many voters; 0: it would mean nobody."""
    match kind:
        case TargetKind.ONE | TargetKind.LEADER:
            return min(1, voters)
        case TargetKind.FOLLOWER:
            return min(1, max(0, voters - 1))
        case TargetKind.MINORITY:
            return max(0, voters - quorum(voters))
        case TargetKind.MAJORITY:
            return voters - quorum(voters) + 1
        case TargetKind.ALL:
            return voters


def resolve_targets(kind: TargetKind, roles: Roles, rng: random.Random) -> tuple[str, ...]:
    """The members a target means now, in the order of the voters.

    Raises:
        FaultIneffectiveError: it means nobody now (no leader is known, or the cluster is too small).
    """
    if kind in {TargetKind.LEADER, TargetKind.FOLLOWER} and roles.leader not in roles.voters:
        raise FaultIneffectiveError(f"target {kind}: no member leads now, so it means nobody")
    match kind:
        case TargetKind.LEADER:
            pool: tuple[str, ...] = tuple(name for name in roles.voters if name == roles.leader)
        case TargetKind.FOLLOWER:
            pool = tuple(name for name in roles.voters if name != roles.leader)
        case _:
            pool = roles.voters
    count = target_count(kind, len(roles.voters))
    if count == 0:
        raise FaultIneffectiveError(f"target {kind}: means nobody in a cluster of {len(roles.voters)}")
    drawn = set(rng.sample(pool, count))
    return tuple(name for name in roles.voters if name in drawn)


def breaks_quorum(targets: Collection[str], roles: Roles) -> bool:
    """Whether the voters that are not hit are fewer than a quorum."""
    untouched = sum(name not in targets for name in roles.voters)
    return untouched < quorum(len(roles.voters))


def at_once(fault: FaultKind, targets: Sequence[str]) -> tuple[str, ...]:
    """Who of the targets is down at one time: all of them, or one after the other."""
    return tuple(targets[:1] if fault is FaultKind.ROLLING_RESTART else targets)


def most_at_once(case: CaseSection, voters: int) -> int:
    """How many members a case hits at one time in a cluster of so many voters."""
    if case.fault is FaultKind.NONE:
        return 0
    if case.fault is FaultKind.PARTITION:
        return len(_example_cuts(case, voters))
    return len(at_once(case.fault, [""] * target_count(case.target, voters)))


def objection(case: CaseSection, voters: int) -> str | None:
    """Why a case must not or cannot run on a cluster of so many voters; ``None`` if it may."""
    if case.fault is FaultKind.NONE:
        return None
    if case.fault is FaultKind.PARTITION:
        return _partition_objection(case, voters)
    members = f"a cluster of {voters} member{'s' if voters != 1 else ''}"
    count = target_count(case.target, voters)
    if count == 0:
        return f"target {case.target} means nobody in {members}"
    if case.fault is FaultKind.ISOLATE and voters < 2:
        return f"nobody can be isolated in {members}: it has no peer traffic"
    hit = most_at_once(case, voters)
    if voters - hit < quorum(voters) and not case.allow_quorum_loss:
        return (
            f"{case.fault} of {case.target} ({hit} of {voters}) takes quorum away: "
            "say allow_quorum_loss: true if that is wanted"
        )
    return None


def _partition_objection(case: CaseSection, voters: int) -> str | None:
    try:
        cuts = _example_cuts(case, voters)
    except FaultIneffectiveError as error:
        return error.message
    if not keeps_quorum(cuts, _names(voters)) and not case.allow_quorum_loss:
        return (
            f"partition {case.partition} takes quorum away from {voters} members: "
            "say allow_quorum_loss: true if that is wanted"
        )
    return None


def _example_cuts(case: CaseSection, voters: int) -> dict[str, Cut]:
    """As a run might draw them: how many there are does not depend on the draw."""
    if case.partition is None:
        raise ValueError(f"case {case.name} does not say who drops whom")
    names = _names(voters)
    roles = Roles(names, names[0] if names else None)
    return resolve_cuts(case.partition, roles, random.Random(0))  # noqa: S311 - an example


def _names(voters: int) -> tuple[str, ...]:
    return tuple(map(str, range(voters)))
