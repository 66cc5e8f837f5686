from __future__ import annotations

import random
from collections import Counter

import pytest

from tester.errors import ScenarioError
from tester.nemesis import COMMON, draw_cases
from tester.partitions import resolve_cuts
from tester.plan import Plan, make_plan
from tester.quorum import Impact, most_at_once, objection, refuse
from tester.scenario.faults import PartitionSection
from tester.scenario.model import NemesisSection, Scenario
from tester.targets import Roles, resolve_targets
from tests.unit.scenario.hosts import inventory

VOTERS = ("h1", "h2", "h3", "h4", "h5")


def nemesis(**keys: object) -> NemesisSection:
    return NemesisSection.model_validate({"kind": "random", **keys})


def plan(section: NemesisSection, size: int = 3, seed: int = 1, bound: int | None = None) -> Plan:
    return make_plan(Scenario(name="s", nemesis=section), inventory(size, max_faulted=bound), seed=seed)


def test_the_same_seed_draws_the_same_cases_and_every_round_others() -> None:
    section = nemesis(cases=10)
    assert plan(section).cases(1) == plan(section).cases(1)
    assert plan(section).cases(1) != plan(section).cases(2)
    assert plan(section).cases(1) != plan(section, seed=2).cases(1)
    assert [case.name for case in plan(section).cases(1)] == [f"random-{n}" for n in range(1, 11)]


@pytest.mark.parametrize("bound", [None, 1])
@pytest.mark.parametrize("size", [3, 5])
def test_every_drawn_case_may_run(size: int, bound: int | None) -> None:
    voters = VOTERS[:size]
    drawn = draw_cases(nemesis(cases=60, at_once=3), voters, bound, random.Random(3))
    assert len(drawn) == 60
    for case in drawn:
        assert objection(case, voters) is None
        assert bound is None or most_at_once(case, voters) <= bound
        held = [fault.occupies for fault in case.faults]
        assert len(held) == len(set(held))
    assert {len(case.faults) for case in drawn} >= {1, 2}
    assert {fault.kind() for case in drawn for fault in case.faults} >= {"kill", "pause", "isolate"}


@pytest.mark.parametrize("size", [3, 4, 5])
def test_what_is_drawn_is_never_refused_when_it_is_injected(size: int) -> None:
    voters = VOTERS[:size]
    drawn = draw_cases(nemesis(cases=50, at_once=3), voters, None, random.Random(9))
    for number, case in enumerate(drawn):
        for leader in voters:
            roles, rng = Roles(voters, leader), random.Random(number)
            impacts: list[Impact] = []
            for fault in case.faults:
                same = impacts[0].members if impacts else ()
                if isinstance(fault, PartitionSection):
                    cuts = resolve_cuts(fault, roles, rng, same=same)
                    impacts.append(Impact(fault, tuple(cuts), cuts))
                else:
                    impacts.append(Impact(fault, resolve_targets(fault.target, roles, rng, same=same), {}))
            refuse(case, impacts, roles, None)


def test_quorum_is_taken_only_with_permission() -> None:
    menu = [{"fault": {"fault": "kill", "target": "majority"}}]
    with pytest.raises(
        ScenarioError, match=r"entry 1 of the menu \(kill\): kill of majority \(2 of 3\) takes"
    ):
        plan(nemesis(menu=menu))
    assert plan(nemesis(menu=menu, allow_quorum_loss=True)).cases(1)


def test_weights_decide_how_often() -> None:
    menu = [
        {"weight": 9, "fault": {"fault": "kill"}},
        {"weight": 1, "fault": {"fault": "pause"}},
    ]
    drawn = draw_cases(nemesis(cases=300, at_once=1, menu=menu), VOTERS, None, random.Random(1))
    counts = Counter(case.title for case in drawn)
    assert counts["kill"] > 5 * counts["pause"] > 0


def test_nothing_can_be_drawn_for_one_member() -> None:
    with pytest.raises(ScenarioError, match="none of the common faults can run on 1 members"):
        plan(nemesis(), size=1)


def test_every_common_fault_can_run_on_three_members() -> None:
    drawn = draw_cases(nemesis(cases=250, at_once=1), VOTERS[:3], None, random.Random(1))
    assert {case.faults[0] for case in drawn} == {item.fault for item in COMMON}
