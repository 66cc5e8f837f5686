"""Several faults in one case: at once, staggered, coming and going, guarded together, healed in reverse."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from agent_service.models import FaultState, FaultStatus
from tester.errors import FaultIneffectiveError, HealError
from tester.events import FaultHealed, FaultInjected
from tester.faults import CaseFaults, composition
from tester.scenario.faults import LoseDataSection
from tester.scenario.model import CaseSection
from tester.targets import Roles
from tests.unit.faults.agents import refused
from tests.unit.faults.stage import QUICK, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLES = Roles(voters=("h1", "h2", "h3"), leader="h1")


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def whole() -> bool:
    return True


def faults(
    stage: Stage, written: Sequence[dict[str, object]], *, allow: bool = True, bound: int | None = None
) -> CaseFaults:
    case = CaseSection.model_validate({"name": "c", "faults": written, "allow_quorum_loss": allow})
    return CaseFaults(case, stage.scene(bound), lambda: ROLES, lambda _: random.Random(1), QUICK)


def order(stage: Stage, kind: type[FaultInjected | FaultHealed]) -> list[tuple[str, str]]:
    return [(event.kind, event.member) for event in stage.events if isinstance(event, kind)]


async def test_all_come_at_once_and_go_in_reverse(stage: Stage) -> None:
    written = [{"fault": "isolate", "target": "leader"}, {"fault": "kill", "target": "h2"}]
    async with faults(stage, written) as case:
        await case.inject(whole)
        assert case.targets == ("h1", "h2")
        await case.hold(0.02)
        assert not stage.clean
        await case.heal()
    assert set(order(stage, FaultInjected)) == {("isolate", "h1"), ("kill", "h2")}
    assert order(stage, FaultHealed) == [("kill", "h2"), ("isolate", "h1")]
    assert [(one.fault, one.targets, one.times) for one in case.injected] == [
        ("isolate", ("h1",), 1),
        ("kill", ("h2",), 1),
    ]
    assert case.held_seconds is not None
    assert case.held_seconds >= 0.02
    assert stage.clean


async def test_two_faults_may_be_on_one_member_but_not_hold_the_same_thing(stage: Stage) -> None:
    both = [{"fault": "isolate", "target": "leader"}, {"fault": "kill", "target": "same"}]
    async with faults(stage, both, allow=False) as case:
        await case.inject(whole)
        assert case.targets == ("h1",)
    clash = [{"fault": "pause", "target": "leader"}, {"fault": "kill", "target": "h1"}]
    async with faults(stage, clash) as case:
        with pytest.raises(FaultIneffectiveError, match="another fault of the case has hold of h1"):
            await case.inject(whole)
    assert stage.clean
    gone = [{"fault": "lose-data", "target": "leader"}, {"fault": "io-error", "target": "h1"}]
    async with faults(stage, gone) as case:
        with pytest.raises(FaultIneffectiveError, match="another fault of the case has hold of h1"):
            await case.inject(whole)
    for disk, on_it in (("disk-full", "power-loss"), ("io-error", "corrupt-file")):
        both = [{"fault": disk, "target": "h1"}, {"fault": on_it, "target": "h1"}]
        async with faults(stage, both) as case:
            with pytest.raises(FaultIneffectiveError, match="another fault of the case has hold of h1"):
                await case.inject(whole)
    drawn = [{"fault": "pause", "target": "leader"}, {"fault": "kill"}]
    async with faults(stage, drawn) as case:
        await case.inject(whole)
        first, second = case.injected
        assert not set(first.targets) & set(second.targets)


async def test_each_finds_what_it_needs_whatever_the_order_in_the_file(stage: Stage) -> None:
    """Etcd is restarted while its disk works, and ended when the others have had it running."""
    written = [
        {"fault": "kill", "target": "h1"},
        {"fault": "io-error", "target": "h1"},
        {"fault": "isolate", "target": "h2"},
        {"fault": "restart", "target": "h2"},
    ]
    async with faults(stage, written) as case:
        await case.inject(whole)
        await case.heal()
    assert [kind for kind, _ in order(stage, FaultInjected)] == ["restart", "io-error", "isolate", "kill"]
    assert [kind for kind, _ in order(stage, FaultHealed)] == ["kill", "isolate", "io-error", "restart"]


async def test_one_that_cannot_be_healed_before_another_waits_for_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "_TURN_SECONDS", 0.01)
    written = [{"fault": "io-error", "target": "h1"}, {"fault": "kill", "target": "h2"}]
    async with faults(stage, written) as case:
        await case.inject(whole)
        stage.agents["h2"].heal_waits = asyncio.Event()
        healing = asyncio.create_task(case.heal())
        while ("io-error", "h1") not in order(stage, FaultHealed):  # noqa: ASYNC110 - events tell it
            await asyncio.sleep(0)
        assert ("kill", "h2") not in order(stage, FaultHealed)
        stage.agents["h2"].heal_waits.set()
        await healing
    assert stage.clean


async def test_one_that_fails_takes_the_others_with_it(stage: Stage) -> None:
    stage.agents["h2"].inject_state = FaultState.FAILED
    written = [{"fault": "isolate", "target": "h1"}, {"fault": "kill", "target": "h2"}]
    async with faults(stage, written) as case:
        with pytest.raises(FaultIneffectiveError, match=r"host h2: .*had no effect"):
            await case.inject(whole)
    assert stage.agents["h1"].clean


@pytest.mark.parametrize("late", [False, True])
async def test_what_is_in_the_way_of_a_heal_is_healed_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """Etcd does not start on a disk that fails: a fault that failed there is healed when the disk is."""
    disk, etcd = stage.agents["h1"], stage.agents["h2"]
    etcd.inject_fails, heal = refused(409, "etcd does not start"), etcd.heal

    async def heal_on_a_sound_disk(fault_id: str) -> FaultStatus:
        if not disk.clean:
            raise refused(409, "etcd does not start")
        return await heal(fault_id)

    monkeypatch.setattr(composition, "_TURN_SECONDS", 0.01)
    monkeypatch.setattr(etcd, "heal", heal_on_a_sound_disk)

    async def held(case: CaseFaults) -> None:
        await case.inject(whole)
        await case.hold(5)

    crash: dict[str, object] = {"fault": "kill", "target": "h2"} | ({"after": "10ms"} if late else {})
    async with faults(stage, [{"fault": "io-error", "target": "h1"}, crash]) as case:
        with pytest.raises(FaultIneffectiveError) as caught:
            await held(case)
    assert "could not be healed" in caught.value.message
    assert caught.value.message.endswith("when the other faults had been healed, so was this one")
    assert stage.clean


async def test_what_cannot_be_healed_without_the_others_either_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd = stage.agents["h2"]
    etcd.inject_fails = refused(409, "etcd does not start")
    monkeypatch.setattr(etcd, "heal_fails", [refused(409, "etcd does not start")] * 1000)
    written = [{"fault": "io-error", "target": "h1"}, {"fault": "kill", "target": "h2"}]
    case = faults(stage, written)
    with pytest.raises(HealError, match=r"host h2: .*could not be healed"):
        await case.inject(whole)
    assert stage.agents["h1"].clean


async def test_the_guard_counts_what_is_active(stage: Stage) -> None:
    written = [{"fault": "isolate", "target": "h1"}, {"fault": "kill", "target": "h2"}]
    async with faults(stage, written, allow=False) as case:
        with pytest.raises(FaultIneffectiveError, match=r"isolate \+ kill of h1, h2 would take quorum"):
            await case.inject(whole)
    assert stage.log == []
    async with faults(stage, written, bound=1) as case:
        with pytest.raises(FaultIneffectiveError, match="hit 2 members, and etcd_chaos_max_faulted is 1"):
            await case.inject(whole)
    assert stage.log == []


async def test_one_more_that_an_action_needs_is_guarded_and_healed_with_the_others(stage: Stage) -> None:
    written = [{"fault": "lose-data", "target": "h2"}]
    async with faults(stage, written) as case:
        await case.inject(whole)
        await case.also(LoseDataSection(), ["h1", "h3"])
        assert case.targets == ("h1", "h2", "h3")
    assert {member for _, member in order(stage, FaultHealed)} == {"h1", "h2", "h3"}
    assert stage.clean
    async with faults(stage, written, allow=False) as case:
        await case.inject(whole)
        with pytest.raises(FaultIneffectiveError, match="would take quorum"):
            await case.also(LoseDataSection(), ["h1"])


async def test_a_fault_that_has_gone_makes_room_for_the_next(stage: Stage) -> None:
    written = [
        {"fault": "kill", "target": "h1", "lasts": "20ms"},
        {"fault": "kill", "target": "h2", "after": "150ms"},
    ]
    async with faults(stage, written, allow=False, bound=1) as case:
        await case.inject(whole)
        assert case.targets == ("h1",)
        await case.hold(0.4)
        assert case.targets == ("h1", "h2")
        await case.heal()
    assert order(stage, FaultInjected) == [("kill", "h1"), ("kill", "h2")]
    assert order(stage, FaultHealed) == [("kill", "h1"), ("kill", "h2")]
    ((one,), (other,)) = (fault.turns for fault in case.injected)
    injected = [event.at_ns for event in stage.events if isinstance(event, FaultInjected)]
    assert one.start_ns <= injected[0] <= other.start_ns <= injected[1]
    healed = [event.at_ns for event in stage.events if isinstance(event, FaultHealed)]
    for turn, at in zip((one, other), healed, strict=True):
        assert turn.end_ns is not None
        assert turn.healed_ns is not None
        assert turn.end_ns <= at <= turn.healed_ns


async def test_a_later_one_that_quorum_forbids_ends_the_case(stage: Stage) -> None:
    written = [{"fault": "kill", "target": "h1"}, {"fault": "kill", "target": "h2", "after": "20ms"}]
    async with faults(stage, written, allow=False) as case:
        await case.inject(whole)
        with pytest.raises(FaultIneffectiveError, match="would take quorum"):
            await case.hold(5)
    assert stage.clean


async def test_flapping_is_a_new_verified_fault_on_the_same_member_each_time(stage: Stage) -> None:
    async with faults(stage, [{"fault": "isolate", "flap": {"on": "100ms", "off": "100ms"}}]) as case:
        await case.inject(whole)
        (hit,) = case.targets
        await case.hold(0.75)
        await case.heal()
    (injected,) = case.injected
    assert injected.targets == (hit,)
    assert injected.times >= 3
    assert len(stage.agents[hit].faults) == injected.times
    assert injected.held_seconds is not None
    assert case.held_seconds is not None
    assert injected.held_seconds < case.held_seconds
    assert len(injected.turns) == injected.times
    at = [ns for turn in injected.turns for ns in (turn.start_ns, turn.end_ns, turn.healed_ns)]
    assert at == sorted(ns for ns in at if ns is not None)
    assert stage.clean


async def test_of_a_fault_that_flaps_for_long_the_first_times_are_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "_TURNS_TOLD", 2)
    async with faults(stage, [{"fault": "isolate", "flap": {"on": "100ms", "off": "100ms"}}]) as case:
        await case.inject(whole)
        await case.hold(0.75)
    (injected,) = case.injected
    assert injected.times > len(injected.turns) == 2


async def test_what_comes_back_without_effect_is_an_error(stage: Stage) -> None:
    written = [{"fault": "isolate", "target": "h1", "flap": {"on": "100ms", "off": "100ms"}}]
    async with faults(stage, written) as case:
        await case.inject(whole)
        stage.agents["h1"].inject_state = FaultState.FAILED
        with pytest.raises(FaultIneffectiveError, match="had no effect"):
            await case.hold(5)
    assert stage.clean


async def test_one_that_ends_by_itself_is_noticed_at_once(stage: Stage) -> None:
    written = [{"fault": "isolate", "target": "h1"}, {"fault": "kill", "target": "h2"}]
    async with faults(stage, written) as case:
        await case.inject(whole)
        stage.agents["h2"].heals_itself()
        with pytest.raises(FaultIneffectiveError, match="ended before its time"):
            await case.hold(30)
    assert stage.clean


async def test_every_one_is_healed_although_one_cannot_be(stage: Stage) -> None:
    written = [{"fault": "isolate", "target": "h1"}, {"fault": "kill", "target": "h2"}]
    case = faults(stage, written)
    await case.inject(whole)
    stage.agents["h2"].heal_state = FaultState.HEAL_FAILED
    with pytest.raises(HealError, match=r"host h2: .*could not be healed"):
        await case.heal()
    assert stage.agents["h1"].clean
    assert [fault.turns[0].healed_ns is None for fault in case.injected] == [False, True]


async def test_cancelled_while_some_come_and_go_leaves_nothing(stage: Stage) -> None:
    written = [
        {"fault": "isolate", "flap": {"on": "100ms", "off": "100ms"}, "target": "h1"},
        {"fault": "kill", "target": "h2", "after": "50ms"},
    ]

    async def run() -> None:
        async with faults(stage, written) as case:
            await case.inject(whole)
            await case.hold(60)

    task = asyncio.create_task(run())
    await asyncio.sleep(0.25)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.agents["h2"].faults
    assert stage.clean
