from __future__ import annotations

import random

import pytest

from tester.errors import FaultIneffectiveError
from tester.scenario.model import CaseSection, FaultKind, TargetKind
from tester.targets import Roles, breaks_quorum, objection, quorum, resolve_targets, target_count

NAMES = tuple(f"h{n}" for n in range(1, 16))


def roles(size: int, leader: str | None = "h1") -> Roles:
    return Roles(voters=NAMES[:size], leader=leader)


@pytest.mark.parametrize(
    ("size", "one", "follower", "leader", "minority", "majority", "everybody"),
    [
        (1, 1, 0, 1, 0, 1, 1),
        (2, 1, 1, 1, 0, 1, 2),
        (3, 1, 1, 1, 1, 2, 3),
        (4, 1, 1, 1, 1, 2, 4),
        (5, 1, 1, 1, 2, 3, 5),
    ],
)
def test_how_many_a_target_means(
    size: int, one: int, follower: int, leader: int, minority: int, majority: int, everybody: int
) -> None:
    counts = {kind: target_count(kind, size) for kind in TargetKind}
    assert counts == {
        TargetKind.ONE: one,
        TargetKind.FOLLOWER: follower,
        TargetKind.LEADER: leader,
        TargetKind.MINORITY: minority,
        TargetKind.MAJORITY: majority,
        TargetKind.ALL: everybody,
    }


@pytest.mark.parametrize("size", range(1, 16))
def test_a_minority_leaves_quorum_and_a_majority_takes_it(size: int) -> None:
    assert size - target_count(TargetKind.MINORITY, size) >= quorum(size)
    assert size - target_count(TargetKind.MINORITY, size) - 1 < quorum(size)
    assert size - target_count(TargetKind.MAJORITY, size) < quorum(size)
    assert size - target_count(TargetKind.MAJORITY, size) + 1 >= quorum(size)


@pytest.mark.parametrize("kind", TargetKind)
def test_the_same_stream_draws_the_same_targets(kind: TargetKind) -> None:
    draws = {resolve_targets(kind, roles(5), random.Random("s")) for _ in range(20)}
    assert len(draws) == 1
    assert len(draws.pop()) == target_count(kind, 5)


def test_draws_reach_everybody_they_may_and_nobody_else() -> None:
    rng = random.Random(1)
    ones = {resolve_targets(TargetKind.ONE, roles(3), rng) for _ in range(100)}
    followers = {resolve_targets(TargetKind.FOLLOWER, roles(3, "h2"), rng) for _ in range(100)}
    assert ones == {("h1",), ("h2",), ("h3",)}
    assert followers == {("h1",), ("h3",)}
    assert resolve_targets(TargetKind.LEADER, roles(3, "h2"), rng) == ("h2",)


def test_targets_keep_the_order_of_the_voters() -> None:
    voters = ("b", "c", "a")
    rng = random.Random(3)
    for _ in range(20):
        drawn = resolve_targets(TargetKind.MAJORITY, Roles(voters, None), rng)
        assert list(drawn) == [name for name in voters if name in drawn]
    assert resolve_targets(TargetKind.ALL, Roles(voters, None), rng) == voters


def test_learners_are_never_hit() -> None:
    everybody = resolve_targets(TargetKind.ALL, Roles(("h1",), "h1", learners=("h2",)), random.Random(0))
    assert everybody == ("h1",)


@pytest.mark.parametrize(
    ("kind", "who", "text"),
    [
        (TargetKind.LEADER, roles(3, None), "no member leads now"),
        (TargetKind.FOLLOWER, roles(3, None), "no member leads now"),
        (TargetKind.LEADER, roles(3, "gone"), "no member leads now"),
        (TargetKind.FOLLOWER, roles(1), "means nobody in a cluster of 1"),
        (TargetKind.MINORITY, roles(2), "means nobody in a cluster of 2"),
        (TargetKind.ALL, Roles((), None), "means nobody in a cluster of 0"),
    ],
)
def test_a_target_that_means_nobody_is_an_error(kind: TargetKind, who: Roles, text: str) -> None:
    with pytest.raises(FaultIneffectiveError, match=text):
        resolve_targets(kind, who, random.Random(0))


def test_quorum_is_counted_over_voters() -> None:
    assert not breaks_quorum({"h1"}, roles(3))
    assert breaks_quorum({"h1", "h2"}, roles(3))
    assert breaks_quorum({"h1"}, roles(1))
    assert breaks_quorum({"h1"}, roles(2))
    assert not breaks_quorum({"l1"}, Roles(("h1",), "h1", learners=("l1",)))


def case(fault: FaultKind, target: TargetKind, *, allow: bool = False) -> CaseSection:
    return CaseSection(name="c", fault=fault, target=target, allow_quorum_loss=allow)


@pytest.mark.parametrize(
    ("fault", "target", "size", "allow", "expected"),
    [
        (FaultKind.KILL, TargetKind.ONE, 3, False, None),
        (FaultKind.KILL, TargetKind.ONE, 1, False, "takes quorum away"),
        (FaultKind.KILL, TargetKind.LEADER, 2, False, "(1 of 2) takes quorum away"),
        (FaultKind.KILL, TargetKind.ONE, 1, True, None),
        (FaultKind.RESTART, TargetKind.ALL, 3, False, "takes quorum away"),
        (FaultKind.ROLLING_RESTART, TargetKind.ALL, 3, False, None),
        (FaultKind.ROLLING_RESTART, TargetKind.ALL, 2, False, "(1 of 2) takes quorum away"),
        (FaultKind.CRASH_LOOP, TargetKind.MAJORITY, 3, False, "(2 of 3) takes quorum away"),
        (FaultKind.NONE, TargetKind.ALL, 3, False, None),
        (FaultKind.KILL, TargetKind.MINORITY, 2, True, "means nobody"),
        (FaultKind.KILL, TargetKind.FOLLOWER, 1, True, "means nobody"),
        (FaultKind.ISOLATE, TargetKind.ONE, 1, True, "nobody can be isolated"),
        (FaultKind.ISOLATE, TargetKind.ALL, 3, True, None),
    ],
)
def test_what_speaks_against_a_case(
    fault: FaultKind, target: TargetKind, size: int, *, allow: bool, expected: str | None
) -> None:
    said = objection(case(fault, target, allow=allow), size)
    assert said is None if expected is None else said is not None and expected in said
