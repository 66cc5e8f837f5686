"""Who drops whom, for every preset and size of cluster."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from tester.errors import FaultIneffectiveError
from tester.partitions import Cut, keeps_quorum, resolve_cuts
from tester.plan import make_plan
from tester.quorum import most_at_once, objection
from tester.scenario.faults import PartitionPreset, PartitionSection
from tester.scenario.model import Scenario
from tester.targets import Roles, quorum
from tests.unit.scenario.cases import single
from tests.unit.scenario.hosts import inventory

NAMES = tuple(f"h{n}" for n in range(1, 16))
LEADER_KINDS = {
    PartitionPreset.LEADER_ALONE: "both",
    PartitionPreset.LEADER_TO_FOLLOWERS: "out",
    PartitionPreset.TO_LEADER: "in",
}
SMALLEST = dict.fromkeys(PartitionPreset, 2) | {
    PartitionPreset.MINORITY_MAJORITY: 3,
    PartitionPreset.BRIDGE: 3,
    PartitionPreset.MAJORITIES_RING: 4,
}


def cut(preset: PartitionPreset, size: int, seed: int = 0, leader: str | None = "h2") -> dict[str, Cut]:
    return resolve_cuts(PartitionSection(partition=preset), Roles(NAMES[:size], leader), random.Random(seed))


def links(cuts: dict[str, Cut], size: int) -> set[frozenset[str]]:
    """Links over which both still hear each other."""
    gone = {frozenset((name, peer)) for name, one in cuts.items() for peer in one.peers}
    return {frozenset(pair) for pair in combinations(NAMES[:size], 2)} - gone


def sees(cuts: dict[str, Cut], size: int) -> dict[str, set[str]]:
    there = links(cuts, size)
    return {a: {b for b in NAMES[:size] if a == b or {a, b} in there} for a in NAMES[:size]}


@pytest.mark.parametrize("size", range(2, 16))
@pytest.mark.parametrize("preset", LEADER_KINDS)
def test_only_the_leader_is_cut_off(preset: PartitionPreset, size: int) -> None:
    others = tuple(name for name in NAMES[:size] if name != "h2")
    assert cut(preset, size) == {"h2": Cut(others, LEADER_KINDS[preset])}  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", LEADER_KINDS)
@pytest.mark.parametrize("leader", [None, "gone"])
def test_without_a_leader_nobody_is_cut_off(preset: PartitionPreset, leader: str | None) -> None:
    with pytest.raises(FaultIneffectiveError, match="no member leads now"):
        cut(preset, 3, leader=leader)


@pytest.mark.parametrize("size", range(3, 16))
def test_a_minority_is_apart_and_whole_in_itself(size: int) -> None:
    seen = sees(cut(PartitionPreset.MINORITY_MAJORITY, size), size)
    groups = {frozenset(who) for who in seen.values()}
    assert sorted(map(len, groups)) == [size - quorum(size), quorum(size)]


@pytest.mark.parametrize("size", range(3, 16))
def test_one_bridge_sees_both_halves(size: int) -> None:
    seen = sees(cut(PartitionPreset.BRIDGE, size), size)
    (bridge,) = [name for name, who in seen.items() if len(who) == size]
    halves = {frozenset(who - {bridge}) for name, who in seen.items() if name != bridge}
    assert sorted(map(len, halves)) == [(size - 1) // 2, size // 2] or {len(h) for h in halves} == {
        (size - 1) // 2
    }
    assert len(halves) == 2


@pytest.mark.parametrize("size", range(4, 16))
def test_on_a_ring_everybody_sees_a_majority_and_no_two_the_same(size: int) -> None:
    seen = sees(cut(PartitionPreset.MAJORITIES_RING, size), size)
    assert all(quorum(size) <= len(who) < size for who in seen.values())
    assert len({frozenset(who) for who in seen.values()}) == (max(4, size))


@pytest.mark.parametrize("size", range(1, 16))
@pytest.mark.parametrize("preset", PartitionPreset)
def test_too_few_members_are_an_error_and_quorum_is_kept_from_three_on(
    preset: PartitionPreset, size: int
) -> None:
    case = single("partition", "c", partition=preset)
    said = objection(case, NAMES[:size])
    if size < SMALLEST[preset]:
        assert said is not None
        assert "cuts nothing in a cluster of" in said
        return
    cuts = cut(preset, size)
    assert (said is None) is keeps_quorum([cuts], NAMES[:size]) is (size > 2)
    assert most_at_once(case, NAMES[:size]) == len(cuts)
    assert all(one.peers and name not in one.peers for name, one in cuts.items())


@pytest.mark.parametrize("preset", [p for p in PartitionPreset if p not in LEADER_KINDS])
def test_draws_repeat_and_reach_everybody(preset: PartitionPreset) -> None:
    assert cut(preset, 5, seed=7) == cut(preset, 5, seed=7)
    assert {name for seed in range(50) for name in cut(preset, 5, seed=seed)} == set(NAMES[:5])


def test_a_one_way_cut_counts_as_cut_for_quorum() -> None:
    one_way = {"h1": Cut(("h2",), "in"), "h2": Cut(("h3",), "in")}
    assert keeps_quorum([one_way], NAMES[:3])
    assert not keeps_quorum([one_way], NAMES[:3], down={"h1"})
    assert not keeps_quorum([one_way, {"h3": Cut(("h1",), "in")}], NAMES[:3])
    assert not keeps_quorum([], ())


def test_the_inventorys_bound_counts_hosts_that_drop() -> None:
    def plan(preset: PartitionPreset, bound: int) -> None:
        case = single("partition", "c", partition=preset)
        make_plan(Scenario(name="s", cases=(case,)), inventory(5, max_faulted=bound))

    plan(PartitionPreset.LEADER_ALONE, 1)
    plan(PartitionPreset.BRIDGE, 2)
    with pytest.raises(Exception, match="hits 5 members, and etcd_chaos_max_faulted is 4"):
        plan(PartitionPreset.MAJORITIES_RING, 4)
