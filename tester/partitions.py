"""Who drops whom: from a preset and the cluster's roles at a moment to rules for each member. Pure.

A link that is cut is cut at the smaller side alone, so that a partition touches no more hosts than it has to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from tester.errors import FaultIneffectiveError
from tester.scenario.faults import PartitionPreset
from tester.targets import resolve_targets

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tester.scenario.faults import PartitionSection
    from tester.targets import Roles

Direction: TypeAlias = Literal["in", "out", "both"]


@dataclass(frozen=True, slots=True)
class Cut:
    """What one member drops: all peer traffic from ``peers``, to them, or both."""

    peers: tuple[str, ...]
    direction: Direction


def resolve_cuts(
    partition: PartitionSection, roles: Roles, rng: random.Random, *, same: Collection[str] = ()
) -> dict[str, Cut]:
    """The members that drop something, in the order of the members, and what they drop.

    Args:
        partition: a preset, or who drops whom.
        roles: the cluster as it is.
        rng: draws.
        same: those that the first fault of the case has hit.

    Raises:
        FaultIneffectiveError: it means nobody now (no leader is known, or the cluster is too small).
    """
    if partition.partition is not None:
        cuts = _cuts(partition.partition, roles, rng)
    else:
        cuts = _said(partition, roles, rng, same)
    if not cuts:
        what = partition.partition or "drops"
        raise FaultIneffectiveError(
            f"partition {what}: cuts nothing in a cluster of {len(roles.voters)} voting members"
        )
    return {name: cuts[name] for name in roles.members if name in cuts}


def _said(
    partition: PartitionSection, roles: Roles, rng: random.Random, same: Collection[str]
) -> dict[str, Cut]:
    """What the file says in full. Nobody drops itself."""
    dropped: dict[str, set[str]] = {}
    for who, whom in (partition.drops or {}).items():
        for name in resolve_targets(who, roles, rng, same=same):
            dropped.setdefault(name, set()).update(resolve_targets(whom, roles, rng, same=same))
    return {
        name: Cut(tuple(peer for peer in roles.members if peer in peers - {name}), partition.direction.value)
        for name, peers in dropped.items()
        if peers - {name}
    }


def _cuts(preset: PartitionPreset, roles: Roles, rng: random.Random) -> dict[str, Cut]:
    match preset:
        case PartitionPreset.LEADER_ALONE:
            return _around_leader(roles, "both")
        case PartitionPreset.LEADER_TO_FOLLOWERS:
            return _around_leader(roles, "out")
        case PartitionPreset.TO_LEADER:
            return _around_leader(roles, "in")
        case PartitionPreset.MINORITY_MAJORITY:
            return _minority(roles.voters, rng)
        case PartitionPreset.BRIDGE:
            return _bridge(roles.voters, rng)
        case PartitionPreset.MAJORITIES_RING:
            return _ring(roles.voters, rng)


def keeps_quorum(
    partitions: Iterable[Mapping[str, Cut]], voters: Sequence[str], down: Collection[str] = ()
) -> bool:
    """Whether some voter that is not down still talks both ways with enough others to lead them.

    A link that is cut one way counts as cut: no answer comes back over it, and TCP needs them.
    """
    gone = {
        frozenset((name, peer)) for cuts in partitions for name, cut in cuts.items() for peer in cut.peers
    }
    up = [name for name in voters if name not in down]
    best = max(
        (sum(one == other or frozenset((one, other)) not in gone for other in up) for one in up), default=0
    )
    return best > len(voters) // 2


def _around_leader(roles: Roles, direction: Direction) -> dict[str, Cut]:
    leader = roles.leader
    if leader is None or leader not in roles.voters:
        raise FaultIneffectiveError("partition around the leader: no member leads now, so it means nobody")
    followers = tuple(name for name in roles.voters if name != leader)
    return {leader: Cut(followers, direction)} if followers else {}


def _minority(voters: Sequence[str], rng: random.Random) -> dict[str, Cut]:
    return _apart(set(rng.sample(voters, (len(voters) - 1) // 2)), voters)


def _bridge(voters: Sequence[str], rng: random.Random) -> dict[str, Cut]:
    if not voters:
        return {}
    bridge, *others = rng.sample(voters, len(voters))
    half = set(others[: len(others) // 2])
    return _apart(half, [name for name in voters if name != bridge])


def _apart(some: set[str], voters: Sequence[str]) -> dict[str, Cut]:
    """Two groups, cut at the members of the first one."""
    rest = tuple(name for name in voters if name not in some)
    return {name: Cut(rest, "both") for name in voters if name in some}


def _ring(voters: Sequence[str], rng: random.Random) -> dict[str, Cut]:
    """On a ring, everybody sees as many neighbours on either side as a majority with itself takes."""
    ring = rng.sample(voters, len(voters))
    size = len(ring)
    reach = (size // 2 + 1) // 2
    cuts: dict[str, Cut] = {}
    for place, name in enumerate(ring):
        seen = {ring[(place + step) % size] for step in range(-reach, reach + 1)}
        unseen = tuple(other for other in voters if other not in seen)
        if unseen:
            cuts[name] = Cut(unseen, "both")
    return cuts
