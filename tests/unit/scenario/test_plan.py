from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_service.models import Capability, HostClock, HostInfo
from tester.errors import InventoryError, ScenarioError
from tester.plan import draw_seed, lacking, make_plan, stream
from tester.scenario.model import CaseSection, ClusterSection, Scenario
from tests.unit.scenario.cases import single
from tests.unit.scenario.hosts import host, inventory

if TYPE_CHECKING:
    from pathlib import Path


def scenario(*cases: CaseSection, **fields: object) -> Scenario:
    cases = cases or (single("kill", "kill"),)
    return Scenario.model_validate({"name": "s", "cases": cases, **fields})


def cases(count: int) -> tuple[CaseSection, ...]:
    return tuple(single("kill", f"c{n}") for n in range(count))


def test_streams_are_the_same_everywhere_and_apart_from_each_other() -> None:
    # The number is part of the promise that a printed seed replays a run, on any Python and machine.
    assert stream(7, "target", 3, "kill-one").randrange(10**6) == 166_424
    assert stream(7, "target", 3, "kill-one").random() != stream(7, "target", 3, "kill-two").random()
    assert stream(7, "order", 1).random() != stream(8, "order", 1).random()


def test_a_plan_takes_hosts_in_order_and_the_given_seed() -> None:
    plan = make_plan(scenario(seed=4, rounds=2, cluster={"members": 3}), inventory(5))
    assert [h.name for h in plan.hosts] == ["h1", "h2", "h3"]
    assert (plan.seed, plan.rounds) == (4, 2)
    outranked = make_plan(scenario(seed=4, rounds=2), inventory(3), seed=0, rounds=9)
    assert (outranked.seed, outranked.rounds) == (0, 9)


def test_a_seed_is_drawn_where_nobody_names_one() -> None:
    assert len({draw_seed() for _ in range(8)}) > 1
    assert make_plan(scenario(), inventory(3)).seed >= 0


def test_cases_keep_their_order_unless_it_is_drawn() -> None:
    ordered = make_plan(scenario(*cases(6)), inventory(3), seed=1)
    assert ordered.cases(1) == ordered.cases(2) == cases(6)
    shuffled = make_plan(scenario(*cases(6), shuffle=True), inventory(3), seed=1)
    assert shuffled.cases(1) == shuffled.cases(1)
    assert sorted(case.name for case in shuffled.cases(1)) == [case.name for case in cases(6)]
    assert len({shuffled.cases(number) for number in range(1, 10)}) > 1


SENT = {"until": "snapshot"}
ADDED = {"actions": [{"action": "remove-and-add-back", "target": "same"}]}


@pytest.mark.parametrize(("waiting", "adding", "others"), [(6, 4, 30), (2, 0, 1), (3, 7, 0), (5, 5, 4)])
def test_cases_that_wait_for_a_snapshot_are_drawn_apart(waiting: int, adding: int, others: int) -> None:
    told = [
        *(single("kill", f"w{n}", **SENT) for n in range(waiting)),
        *(single("kill", f"a{n}", **SENT, **ADDED) for n in range(adding)),
        *(single("kill", f"o{n}") for n in range(others)),
    ]
    orders = [make_plan(scenario(*told, shuffle=True), inventory(3), seed=seed).cases(1) for seed in range(9)]
    assert len(set(orders)) > 1
    for order in orders:
        assert sorted(case.name for case in order) == sorted(case.name for case in told)
        kinds = "".join(case.name[0] for case in order)
        around = (kinds + kinds).replace("a", "")
        gaps = around[around.index("w") + 1 : around.rindex("w")].split("w")
        assert {len(gap) for gap in gaps} <= {others // waiting, -(-others // waiting)}
        assert "oa" not in kinds + kinds[0], "who adds a member comes right after one that waits"


def test_one_case_that_waits_is_drawn_like_any_other() -> None:
    told = [single("kill", "w", **SENT), *cases(6)]
    drawn = make_plan(scenario(*told, shuffle=True), inventory(3), seed=1).cases(1)
    stream(1, "order", 1).shuffle(told)
    assert drawn == tuple(told)


def test_draws_of_a_case_do_not_depend_on_the_other_cases() -> None:
    alone = make_plan(scenario(cases(2)[1]), inventory(3), seed=1)
    beside = make_plan(scenario(*cases(2)), inventory(3), seed=1)
    case = cases(2)[1]
    assert alone.target_stream(5, case).random() == beside.target_stream(5, case).random()
    assert alone.target_stream(5, case).random() != alone.target_stream(6, case).random()


def problems(subject: Scenario, size: int, **options: int | None) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        make_plan(subject, inventory(size, **options))
    return caught.value.message.splitlines()


def test_a_script_that_is_not_there_is_told_before_anything_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subject = scenario(single("external", "a", script="./unplug"))
    expected = f"case a: no program ./unplug that could be run, seen from {tmp_path}"
    assert problems(subject, 3)[0].endswith(expected)
    (tmp_path / "unplug").write_text("#!/bin/sh\n")
    assert problems(subject, 3)[0].endswith(expected), "not executable"
    (tmp_path / "unplug").chmod(0o700)
    assert make_plan(subject, inventory(3)).cases(1)


def test_every_misfit_is_told_at_once() -> None:
    subject = scenario(
        single("kill", "a", target="minority"),
        single("kill", "b", target="leader"),
        single("none", "c"),
    )
    nobody, quorum = problems(subject, 2)
    where = "scenario s on inventory/hosts.yml"
    assert nobody == f"{where}: case a: target minority means nobody in a cluster of 2 members"
    assert quorum.startswith(
        f"{where}: case b: kill of leader (1 of 2) takes quorum away: say allow_quorum_loss"
    )
    assert make_plan(subject, inventory(3)).hosts


def test_more_members_than_hosts() -> None:
    lines = problems(scenario(cluster={"members": 5}), 3)
    assert lines == ["scenario s on inventory/hosts.yml: cluster.members is 5, and there are 3 hosts"]


def test_more_hosts_than_a_cluster_has_members() -> None:
    assert "16 hosts, and a cluster has at most 15" in problems(scenario(), 16)[0]
    assert len(make_plan(scenario(cluster={"members": 15}), inventory(16)).hosts) == 15


def test_the_inventory_bounds_how_many_are_hit() -> None:
    subject = scenario(single("kill", "a", target="all", allow_quorum_loss=True))
    assert "hits 3 members, and etcd_chaos_max_faulted is 1" in problems(subject, 3, max_faulted=1)[0]
    assert make_plan(subject, inventory(3, max_faulted=3)).max_faulted == 3


ADD, PROMOTE = {"action": "add-learner"}, {"action": "promote"}


@pytest.mark.parametrize(
    ("told", "shuffle"),
    [
        ([single("none", "a", actions=[ADD]), single("kill", "b", target="learner")], False),
        ([single("none", "a", actions=[ADD, PROMOTE, ADD]), single("isolate", "b", target="learner")], False),
        ([single("kill", "b", target="learner", after="1s", actions=[ADD, PROMOTE])], True),
    ],
)
def test_a_learner_that_stands_can_be_hit(told: list[CaseSection], *, shuffle: bool) -> None:
    assert make_plan(scenario(*told, shuffle=shuffle), inventory(3)).cases(1)


@pytest.mark.parametrize(
    ("told", "shuffle"),
    [
        ([single("kill", "b", target="learner")], False),
        ([single("kill", "b", target="leader + learner"), single("none", "a", actions=[ADD])], False),
        ([single("none", "a", actions=[ADD]), single("kill", "b", target="learner")], True),
        ([single("none", "a", actions=[ADD, PROMOTE]), single("kill", "b", target="learner")], False),
        ([single("kill", "b", target="learner", actions=[ADD])], False),
        ([single("none", "b", actions=[PROMOTE])], False),
    ],
)
def test_a_learner_that_nobody_can_have_added(told: list[CaseSection], *, shuffle: bool) -> None:
    (said,) = [problem for problem in problems(scenario(*told, shuffle=shuffle), 3) if "case b" in problem]
    assert "no learner stands then: add one before it: an action add-learner" in said


def test_a_version_that_a_host_lacks() -> None:
    lines = problems(scenario(cluster={"version": "3.4.23"}), 1)
    assert "host h1 has no etcd 3.4.23 (has 3.5.16)" in lines[0]


def test_a_host_without_any_etcd() -> None:
    bare = replace(inventory(3), hosts=(host(1), host(2), host(3, versions=())))
    with pytest.raises(ScenarioError, match="host h3 has no etcd: add it"):
        make_plan(scenario(), bare)


def test_the_version_of_a_host_is_the_scenarios_else_its_own() -> None:
    plan = make_plan(scenario(), inventory(3))
    assert plan.version(plan.hosts[0]) == "3.5.16"
    other = replace(
        plan, scenario=plan.scenario.model_copy(update={"cluster": ClusterSection(version="3.4.23")})
    )
    assert other.version(plan.hosts[0]) == "3.4.23"
    with pytest.raises(InventoryError):
        plan.version(host(1, versions=()))


def info(*capabilities: Capability) -> HostInfo:
    return HostInfo(
        agent_version="0.1.0",
        api_version=1,
        hostname="h",
        os_release="",
        kernel="",
        python="3.11",
        cpus=1,
        memory_bytes=1,
        supervisor="systemd",
        etcd_versions=(),
        capabilities=capabilities,
        clock=HostClock(boot_id="b", monotonic_ns=0, realtime_ns=0),
    )


def test_what_hosts_cannot_do_is_told_before_anything_starts() -> None:
    plan = make_plan(
        scenario(
            single("isolate", "a"),
            single("kill", "b"),
            single("none", "c"),
        ),
        inventory(3),
    )
    kill = Capability(kind="kill", available=True, reason="signals")
    able = info(kill, Capability(kind="isolate", available=True, reason="nft"))
    unable = info(kill, Capability(kind="isolate", available=False, reason="no nft"))
    assert lacking(plan, {"h1": able, "h2": able, "h3": able}) == ()
    assert lacking(plan, {"h1": able, "h2": unable, "h3": info(kill)}) == (
        "host h2 cannot do fault isolate: no nft",
        "host h3: its agent does not know fault isolate",
    )


ON_LOAD = {"workers_on": "load", "stressers": [{"kind": "kv"}]}


def test_load_hosts_hold_so_many_workers_each_and_have_no_vote() -> None:
    where = replace(inventory(3), load_hosts=(host(8), host(9)))
    plan = make_plan(scenario(workers=3, **ON_LOAD), where)
    assert [each.name for each in plan.load_hosts] == ["h8", "h9"]
    assert plan.workers == 6
    assert [each.name for each in plan.hosts] == ["h1", "h2", "h3"]
    beside = make_plan(scenario(workers=3, stressers=[{"kind": "kv"}]), where)
    assert (beside.load_hosts, beside.workers) == ((), 3)
    # two of three are a quorum, however many hosts there are beside them
    with pytest.raises(ScenarioError, match="takes quorum away"):
        make_plan(scenario(single("kill", "a", target="majority"), **ON_LOAD), where)


def test_load_without_a_host_for_it() -> None:
    (problem,) = problems(scenario(**ON_LOAD), 3)
    where = "scenario s on inventory/hosts.yml"
    assert problem.startswith(
        f"{where}: workers_on is load, and the inventory has no group load with hosts: add it"
    )


def test_load_that_does_not_fit() -> None:
    where = replace(inventory(3), load_hosts=tuple(host(n) for n in range(4, 9)))
    with pytest.raises(ScenarioError, match="64 workers on each of 5 load hosts: at most 256 in all"):
        make_plan(scenario(workers=64, **ON_LOAD), where)
    with pytest.raises(ScenarioError, match="there are no stressers that could run there"):
        make_plan(scenario(workers_on="load"), where)
    with pytest.raises(
        ScenarioError, match="which workers cannot follow: set workers to 1, and workers_on to tester"
    ):
        make_plan(scenario(cluster={"initial": 2}, **ON_LOAD), where)


def test_a_load_host_is_asked_for_load_and_for_no_fault() -> None:
    where = replace(inventory(3), load_hosts=(host(9),))
    plan = make_plan(scenario(**ON_LOAD), where)
    kill = Capability(kind="kill", available=True, reason="yes")
    info = HostInfo(
        agent_version="1", api_version=1, hostname="h", os_release="", kernel="", python="3.11", cpus=1,
        memory_bytes=1, supervisor="systemd", etcd_versions=(), capabilities=(kill,),
        clock=HostClock(boot_id="b", monotonic_ns=0, realtime_ns=0),
    )  # fmt: skip
    bare = info.model_copy(update={"capabilities": ()})
    assert lacking(plan, {"h1": info, "h9": bare}) == ()
    without = bare.model_copy(update={"load_lacks": "setpriv is missing"})
    assert lacking(plan, {"h1": info, "h9": without}) == ("host h9 can hold no load: setpriv is missing",)
