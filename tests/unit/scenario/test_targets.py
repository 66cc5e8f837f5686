from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tester.errors import FaultIneffectiveError
from tester.partitions import Cut
from tester.quorum import Impact, most_at_once, objection, refuse
from tester.scenario.model import CaseSection
from tester.scenario.target import TargetWord, parse_target
from tester.targets import Roles, largest, quorum, resolve_targets, target_count
from tests.unit.scenario.cases import fault, single

if TYPE_CHECKING:
    from tester.scenario.faults import FaultSection

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
    counts = {
        word: target_count(word, size)
        for word in TargetWord
        if word not in {TargetWord.QUORUM, TargetWord.LEARNER, TargetWord.SAME}
    }
    assert counts == {
        TargetWord.ONE: one,
        TargetWord.FOLLOWER: follower,
        TargetWord.LEADER: leader,
        TargetWord.MINORITY: minority,
        TargetWord.MAJORITY: majority,
        TargetWord.ALL: everybody,
    }


@pytest.mark.parametrize("size", range(1, 16))
def test_a_minority_leaves_quorum_and_a_majority_takes_it(size: int) -> None:
    assert size - target_count(TargetWord.MINORITY, size) >= quorum(size)
    assert size - target_count(TargetWord.MINORITY, size) - 1 < quorum(size)
    assert size - target_count(TargetWord.MAJORITY, size) < quorum(size)
    assert size - target_count(TargetWord.MAJORITY, size) + 1 >= quorum(size)
    assert target_count(TargetWord.QUORUM, size) == quorum(size)


@pytest.mark.parametrize("word", [w for w in TargetWord if w not in {TargetWord.LEARNER, TargetWord.SAME}])
def test_the_same_stream_draws_the_same_targets(word: TargetWord) -> None:
    target = parse_target(word.value)
    draws = {resolve_targets(target, roles(5), random.Random("s")) for _ in range(20)}
    assert len(draws) == 1
    assert len(draws.pop()) == target_count(word, 5) == largest(target, NAMES[:5]).members


def test_draws_reach_everybody_they_may_and_nobody_else() -> None:
    rng = random.Random(1)
    ones = {resolve_targets(parse_target("one"), roles(3), rng) for _ in range(100)}
    followers = {resolve_targets(parse_target("follower"), roles(3, "h2"), rng) for _ in range(100)}
    assert ones == {("h1",), ("h2",), ("h3",)}
    assert followers == {("h1",), ("h3",)}
    assert resolve_targets(parse_target("leader"), roles(3, "h2"), rng) == ("h2",)


def test_targets_keep_the_order_of_the_voters() -> None:
    voters = ("b", "c", "a")
    rng = random.Random(3)
    for _ in range(20):
        drawn = resolve_targets(parse_target("majority"), Roles(voters, None), rng)
        assert list(drawn) == [name for name in voters if name in drawn]
    assert resolve_targets(parse_target("all"), Roles(voters, None), rng) == voters


def test_learners_are_never_hit() -> None:
    everybody = resolve_targets(parse_target("all"), Roles(("h1",), "h1", learners=("h2",)), random.Random(0))
    assert everybody == ("h1",)


@pytest.mark.parametrize(
    ("kind", "who", "text"),
    [
        (TargetWord.LEADER, roles(3, None), "no member leads now"),
        (TargetWord.FOLLOWER, roles(3, None), "no member leads now"),
        (TargetWord.LEADER, roles(3, "gone"), "no member leads now"),
        (TargetWord.FOLLOWER, roles(1), "means nobody in a cluster of 1"),
        (TargetWord.MINORITY, roles(2), "means nobody in a cluster of 2"),
        (TargetWord.ALL, Roles((), None), "means nobody now"),
    ],
)
def test_a_target_that_means_nobody_is_an_error(kind: TargetWord, who: Roles, text: str) -> None:
    with pytest.raises(FaultIneffectiveError, match=text):
        resolve_targets(parse_target(kind.value), who, random.Random(0))


FIVE = Roles(NAMES[:5], "h1", learners=("l1", "l2"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h2", {"h2"}),
        ("h2 + h4", {"h2", "h4"}),
        ("all - leader", {"h2", "h3", "h4", "h5"}),
        ("all - h5 - h4", {"h1", "h2", "h3"}),
        ("same", {"h3"}),
        ("all - same", {"h1", "h2", "h4", "h5"}),
        ("2 learners", {"l1", "l2"}),
        ("leader + 2 learners", {"h1", "l1", "l2"}),
        ("4 followers", {"h2", "h3", "h4", "h5"}),
    ],
)
def test_sums_of_targets(text: str, expected: set[str]) -> None:
    drawn = resolve_targets(parse_target(text), FIVE, random.Random(0), same=("h3",))
    assert set(drawn) == expected
    assert list(drawn) == [name for name in FIVE.members if name in drawn]


@pytest.mark.parametrize(
    ("text", "size"), [("leader + 2 followers", 3), ("2 members", 2), ("all - 2 members", 3)]
)
def test_draws_of_a_sum_have_its_size(text: str, size: int) -> None:
    sizes = {len(resolve_targets(parse_target(text), FIVE, random.Random(seed))) for seed in range(30)}
    assert sizes == {size}
    assert largest(parse_target(text), NAMES[:5]) == (size, size)


@pytest.mark.parametrize(
    ("text", "members", "voters"),
    [("learner", 1, 0), ("leader + learner", 2, 1), ("all + learner", 3, 2), ("all", 2, 2), ("h1", 1, 1)],
)
def test_a_learner_is_hit_and_has_no_vote(text: str, members: int, voters: int) -> None:
    assert largest(parse_target(text), NAMES[:2], ("h3",)) == (members, voters)
    if "learner" in text and text != "learner":
        assert largest(parse_target(text), NAMES[:2]) == (0, 0), "where none stands it means nobody"


@pytest.mark.parametrize(
    ("target", "voters", "hit", "expected"),
    [
        ("learner", 1, 1, None),
        ("learner", 3, 1, None),
        ("leader + learner", 3, 2, None),
        ("leader + learner", 2, 2, "(1 of 2) takes quorum away"),
    ],
)
def test_a_learner_counts_for_no_quorum_and_for_the_bound(
    target: str, voters: int, hit: int, expected: str | None
) -> None:
    case = single("kill", target=target)
    said = objection(case, NAMES[:voters], ("l1",))
    assert said is None if expected is None else said is not None and expected in said
    assert most_at_once(case, NAMES[:voters], ("l1",)) == hit
    assert "means nobody" in str(objection(case, NAMES[:voters]))


def test_what_is_taken_is_never_drawn() -> None:
    target = parse_target("one")
    drawn = {resolve_targets(target, roles(3), random.Random(s), taken={"h1"}) for s in range(50)}
    assert drawn == {("h2",), ("h3",)}
    with pytest.raises(FaultIneffectiveError, match="another fault of the case has hold of h1"):
        resolve_targets(parse_target("leader"), roles(3), random.Random(0), taken={"h1"})
    with pytest.raises(FaultIneffectiveError, match="with what is taken"):
        resolve_targets(parse_target("majority"), roles(3), random.Random(0), taken={"h1", "h2"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h9", "h9 is no member"),
        ("leader - leader", "means nobody now"),
        ("learner", "means nobody in a cluster of 3"),
        ("same", "means nobody now"),
    ],
)
def test_a_sum_that_means_nobody_is_an_error(text: str, said: str) -> None:
    with pytest.raises(FaultIneffectiveError, match=said):
        resolve_targets(parse_target(text), roles(3), random.Random(0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "leader +",
        "+ leader",
        "leader follower",
        "2 leader",
        "0 followers",
        "99 followers",
        "a/b",
        "one -- h1",
    ],
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match=r"target|nothing"):
        parse_target(text)


def test_a_list_is_a_sum() -> None:
    assert parse_target(["h1", "db-2.example.org"]) == parse_target("h1 + db-2.example.org")
    assert parse_target("db-1").names == ("db-1",)


def impact(kind: str, *members: str) -> Impact:
    return Impact(fault(kind), members, {})


@pytest.mark.parametrize(
    ("impacts", "who", "fits"),
    [
        ([impact("kill", "h1")], roles(3), True),
        ([impact("kill", "h1", "h2")], roles(3), False),
        ([impact("kill", "h1"), impact("pause", "h2")], roles(3), False),
        ([impact("kill", "h1"), impact("isolate", "h1")], roles(3), True),
        ([impact("kill", "h1"), impact("pause", "h2")], roles(5), True),
        ([impact("rolling-restart", "h1", "h2", "h3")], roles(3), True),
        ([impact("kill", "h1")], roles(1), False),
        ([impact("kill", "h1")], roles(2), False),
        ([impact("kill", "l1")], Roles(("h1",), "h1", learners=("l1",)), True),
    ],
)
def test_the_guard_counts_all_active_faults_over_voters(
    impacts: list[Impact], who: Roles, *, fits: bool
) -> None:
    if fits:
        refuse(single("none"), impacts, who, bound=None)
    else:
        with pytest.raises(FaultIneffectiveError, match="would take quorum from") as caught:
            refuse(single("none"), impacts, who, bound=None)
        assert "allow_quorum_loss" in str(caught.value.remedy)
    refuse(single("none", allow_quorum_loss=True), impacts, who, bound=None)


def test_the_guard_counts_links_and_members_together() -> None:
    cuts = {"h1": Cut(("h2", "h3"), "both")}
    partition = Impact(fault("partition", partition="leader-alone"), ("h1",), cuts)
    refuse(single("none"), [partition], roles(3), bound=1)
    refuse(single("none"), [partition, impact("kill", "h1")], roles(3), bound=1)
    with pytest.raises(FaultIneffectiveError, match=r"partition \+ kill of h1, h2 would take quorum"):
        refuse(single("none"), [partition, impact("kill", "h2")], roles(3), bound=None)
    with pytest.raises(FaultIneffectiveError, match="hit 2 members, and etcd_chaos_max_faulted is 1"):
        refuse(single("none"), [partition, impact("kill", "h2")], roles(5), bound=1)


@pytest.mark.parametrize(
    ("kind", "target", "size", "allow", "expected"),
    [
        ("kill", "one", 3, False, None),
        ("kill", "one", 1, False, "takes quorum away"),
        ("kill", "leader", 2, False, "(1 of 2) takes quorum away"),
        ("kill", "one", 1, True, None),
        ("restart", "all", 3, False, "takes quorum away"),
        ("rolling-restart", "all", 3, False, None),
        ("rolling-restart", "all", 2, False, "(1 of 2) takes quorum away"),
        ("crash-loop", "majority", 3, False, "(2 of 3) takes quorum away"),
        ("none", "all", 3, False, None),
        ("kill", "minority", 2, True, "means nobody"),
        ("kill", "follower", 1, True, "means nobody"),
        ("isolate", "one", 1, True, "nobody can be isolated"),
        ("isolate", "all", 3, True, None),
    ],
)
def test_what_speaks_against_a_case(
    kind: str, target: str, size: int, *, allow: bool, expected: str | None
) -> None:
    keys = {} if kind == "none" else {"target": target}
    said = objection(single(kind, allow_quorum_loss=allow, **keys), NAMES[:size])
    assert said is None if expected is None else said is not None and expected in said


@pytest.mark.parametrize(
    ("faults", "size", "expected"),
    [
        ([fault("kill"), fault("pause")], 3, "kill + pause (2 of 3) takes quorum away"),
        ([fault("kill"), fault("pause")], 5, None),
        ([fault("kill"), fault("isolate", target="same")], 3, None),
        ([fault("partition", partition="bridge"), fault("kill")], 3, "with 1 of them down"),
        (
            [fault("partition", partition="bridge"), fault("kill", target="leader - leader")],
            3,
            "means nobody",
        ),
    ],
)
def test_faults_of_a_case_count_together(faults: list[FaultSection], size: int, expected: str | None) -> None:
    case = CaseSection(name="c", faults=tuple(faults))  # type: ignore[arg-type]  # each is one of the union
    said = objection(case, NAMES[:size])
    assert said is None if expected is None else said is not None and expected in said
