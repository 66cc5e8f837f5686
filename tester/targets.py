"""Who is hit: from the cluster's roles at a moment to member names. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tester.errors import FaultIneffectiveError
from tester.scenario.target import TargetSum, TargetWord

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tester.scenario.target import Term


@dataclass(frozen=True, slots=True)
class Roles:
    """The members' roles at one moment. ``leader`` is ``None`` while nobody leads.

    ``voters`` are in the order of their hosts in the plan: draws depend on it, so a run can be replayed.
    """

    voters: tuple[str, ...]
    leader: str | None
    learners: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody, voters first."""
        return (*self.voters, *self.learners)


def quorum(voters: int) -> int:
    """How many of so many voters a majority is."""
    return voters // 2 + 1


def target_count(word: TargetWord, voters: int) -> int:
    """How many members a word means in a cluster of so many voters; 0: it would mean nobody."""
    match word:
        case TargetWord.ONE | TargetWord.LEADER:
            return min(1, voters)
        case TargetWord.FOLLOWER:
            return min(1, max(0, voters - 1))
        case TargetWord.MINORITY:
            return max(0, voters - quorum(voters))
        case TargetWord.MAJORITY:
            return voters - quorum(voters) + 1
        case TargetWord.QUORUM:
            return quorum(voters)
        case TargetWord.ALL:
            return voters
        case TargetWord.LEARNER | TargetWord.SAME:
            return 1


def resolve_targets(
    target: TargetSum,
    roles: Roles,
    rng: random.Random,
    *,
    same: Collection[str] = (),
    taken: Collection[str] = (),
) -> tuple[str, ...]:
    """The members a target means now, in the order of the members.

    Args:
        target: who.
        roles: the cluster as it is.
        rng: draws.
        same: those that the first fault of the case has hit.
        taken: those that cannot be hit: another fault has hold of what this one wants. They are never drawn.

    Raises:
        FaultIneffectiveError: it means nobody now (no leader is known, the cluster is too small, all that it
            could mean are taken).
    """
    hit: set[str] = set()
    for term in target.terms:
        if term.minus:
            # Whom a draw would take away is drawn among those who are there.
            hit -= _meant(target, term, roles, rng, same, out_of=hit)
        else:
            hit |= _meant(target, term, roles, rng, same, out_of=set(roles.members) - set(taken) - hit)
    if stuck := hit & set(taken):
        raise FaultIneffectiveError(
            f"target {target}: another fault of the case has hold of {', '.join(sorted(stuck))}"
        )
    if not hit:
        raise FaultIneffectiveError(f"target {target}: means nobody now")
    return tuple(name for name in roles.members if name in hit)


def _meant(
    target: TargetSum,
    term: Term,
    roles: Roles,
    rng: random.Random,
    same: Collection[str],
    out_of: Collection[str],
) -> set[str]:
    who = term.who
    if not isinstance(who, TargetWord):
        if who not in roles.members:
            raise FaultIneffectiveError(f"target {target}: {who} is no member of the cluster now")
        return {who}
    if who in {TargetWord.LEADER, TargetWord.FOLLOWER} and roles.leader not in roles.voters:
        raise FaultIneffectiveError(f"target {target}: no member leads now, so it means nobody")
    match who:
        case TargetWord.LEADER:
            return {name for name in roles.voters if name == roles.leader}
        case TargetWord.ALL:
            return set(roles.voters)
        case TargetWord.SAME:
            return set(same)
        case TargetWord.FOLLOWER:
            pool: tuple[str, ...] = tuple(name for name in roles.voters if name != roles.leader)
        case TargetWord.LEARNER:
            pool = roles.learners
        case _:
            pool = roles.voters
    count = target_count(who, len(roles.voters)) * term.count
    free = [name for name in pool if name in out_of]
    if count == 0 or count > len(free):
        cluster = f"a cluster of {len(roles.voters)}" + (
            " with what is taken" if len(free) < len(pool) else ""
        )
        raise FaultIneffectiveError(f"target {target}: means nobody in {cluster}")
    return set(rng.sample(free, count))


class Reach(NamedTuple):
    """How many a target means at most."""

    members: int = 0
    voters: int = 0
    """How many of them have a vote: those alone count for quorum."""


def largest(target: TargetSum, voters: Collection[str], learners: Sequence[str] = ()) -> Reach:
    """How many members a target means at most in a cluster of these; none: it means nobody.

    Found by trying: every voter leads once, with a few draws each. Names that are not among the voters
    stand for members that are.
    """
    names = tuple(dict.fromkeys((*target.names, *voters)))[: max(len(voters), len(target.names))]
    reach = [Reach()]
    for leader in names:
        for seed in range(4):
            roles = Roles(names, leader, tuple(learners))
            try:
                drawn = resolve_targets(target, roles, random.Random(seed), same=names[:1])  # noqa: S311 - an example
            except FaultIneffectiveError:
                continue
            reach.append(Reach(len(drawn), sum(name in names for name in drawn)))
    return Reach(max(one.members for one in reach), max(one.voters for one in reach))
