from __future__ import annotations

import asyncio

import pytest

from agent_client.errors import AgentRefusedError
from agent_service.models import UNREACHED, FaultState, PartitionFault, Problem
from tester.errors import FaultIneffectiveError, FaultUnreachedError, HealError
from tester.events import FaultHealed, FaultInjected, MembershipChange, MembershipChanged, Notice
from tester.faults import CaseFault, FaultTiming
from tester.partitions import Cut
from tests.unit.faults.agents import refused, unreachable
from tests.unit.faults.stage import ALL, QUICK, Stage
from tests.unit.scenario.cases import fault as section


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def eventually(*, turns: int = 50) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def whole(fault: CaseFault, members: tuple[str, ...]) -> None:
    async with fault:
        await fault.inject(members)
        await fault.hold(0.0)


async def test_inject_hold_heal(stage: Stage) -> None:
    async with stage.fault() as fault:
        await fault.inject(("h1", "h3"))
        assert fault.targets == ("h1", "h3")
        assert fault.held_seconds is None
        await fault.hold(0.05)
        await fault.heal()
    assert fault.held_seconds is not None
    assert fault.held_seconds >= 0.05
    assert stage.clean
    assert {event.member for event in stage.seen(FaultInjected)} == {"h1", "h3"}
    assert {event.member for event in stage.seen(FaultHealed)} == {"h1", "h3"}
    assert not stage.agents["h2"].faults


@pytest.mark.parametrize(("kind", "ends"), [("kill", True), ("stop", True), ("isolate", False)])
async def test_what_keeps_etcd_down_is_held_until_an_action_starts_it(
    stage: Stage,
    kind: str,
    ends: bool,  # noqa: FBT001 - a table
) -> None:
    def added(member: str) -> None:
        stage.bus.publish(MembershipChanged(stage.clock.now(), member, MembershipChange.ADDED))

    fault = stage.fault(kind)
    async with fault:
        await fault.inject(("h1", "h2"))
        stage.bus.publish(MembershipChanged(stage.clock.now(), "h1", MembershipChange.LEAVING))
        added("h1")
        added("h3")
        await fault.hold(0.05)  # on the other
        added("h2")
        over = stage.clock.now()
        await asyncio.sleep(0.05)
        await fault.heal()
        added("h2")
    assert fault.held_seconds is not None
    injected = min(event.at_ns for event in stage.seen(FaultInjected))
    if ends:
        assert 0.05 <= fault.held_seconds <= (over - injected) / 1e9
    else:
        assert fault.held_seconds >= 0.1


async def test_members_are_hit_at_once_and_healed_once(stage: Stage) -> None:
    gate = asyncio.Event()
    stage.agents["h1"].inject_waits = gate
    fault = stage.fault()
    async with fault:
        work = asyncio.create_task(fault.inject(ALL))
        await eventually()
        assert {"h2 injected", "h3 injected"} <= set(stage.log)
        gate.set()
        await work
        await fault.heal()
        await fault.heal()
    assert [line for line in stage.log if line.endswith(" heal")] == ["h3 heal", "h2 heal", "h1 heal"]


async def test_a_rolling_restart_takes_one_after_the_other(stage: Stage) -> None:
    async def whole() -> bool:
        stage.log.append("whole")
        return True

    async with stage.fault("rolling-restart") as fault:
        await fault.inject(ALL, whole)
        await fault.heal()
    done = [line for line in stage.log if not line.endswith(" inject")]
    assert done[:5] == ["h1 injected", "whole", "h2 injected", "whole", "h3 injected"]
    assert fault.targets == ALL
    assert stage.clean
    assert {status.spec.kind for agent in stage.agents.values() for status in agent.faults.values()} == {
        "restart"
    }


async def test_a_rolling_restart_spares_the_rest_of_a_cluster_that_is_not_whole(stage: Stage) -> None:
    async def broken() -> bool:
        return False

    async with stage.fault("rolling-restart") as fault:
        await fault.inject(ALL, broken)
    assert fault.targets == ("h1",)
    assert not stage.agents["h2"].faults
    assert stage.clean


async def test_a_rolling_restart_is_healed_when_it_is_given_up(stage: Stage) -> None:
    gate = asyncio.Event()

    async def whole() -> bool:
        return await gate.wait()

    async def case() -> None:
        async with stage.fault("rolling-restart") as fault:
            await fault.inject(ALL, whole)

    task = asyncio.create_task(case())
    await eventually()
    assert "h1 injected" in stage.log
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.clean
    assert not stage.agents["h2"].faults


def unreached() -> AgentRefusedError:
    problem = Problem(type=UNREACHED, title="Failpoint not reached", status=424, detail="came by none")
    return AgentRefusedError("came by none", problem)


@pytest.mark.parametrize("keys", [{"every": "panic"}, {"terms": {"beforeCommit": "panic"}}])
async def test_a_failpoint_that_some_come_by_is_held_there(stage: Stage, keys: dict[str, object]) -> None:
    stage.agents["h2"].inject_fails = unreached()
    async with stage.fault("failpoint", **keys) as fault:
        await fault.inject(ALL)
        assert fault.targets == ("h1", "h3")
    assert ["came by none" in event.text for event in stage.seen(Notice)] == [True]
    assert stage.clean


@pytest.mark.parametrize(
    ("every", "fails", "kind"),
    [
        (True, unreached(), FaultUnreachedError),
        (False, unreached(), FaultIneffectiveError),
        (True, refused(424, "gofail refuses"), FaultIneffectiveError),
    ],
)
async def test_one_that_nobody_comes_by(
    stage: Stage,
    every: bool,  # noqa: FBT001
    fails: AgentRefusedError,
    kind: type[FaultIneffectiveError],
) -> None:
    for agent in stage.agents.values():
        agent.inject_fails = fails
    keys = {"every": "panic"} if every else {"terms": {"beforeCommit": "panic"}}
    with pytest.raises(FaultIneffectiveError) as caught:
        await whole(stage.fault("failpoint", **keys), ALL)
    assert type(caught.value) is kind
    assert stage.clean


async def test_a_partition_hits_those_that_drop(stage: Stage) -> None:
    cuts = {"h1": Cut(("h2", "h3"), "out")}
    async with stage.fault("partition") as fault:
        await fault.inject(("h1",), cuts=cuts)
    (status,) = stage.agents["h1"].faults.values()
    assert isinstance(status.spec, PartitionFault)
    assert status.spec.direction == "out"
    assert [peer.address for peer in status.spec.peers] == ["10.207.0.2", "10.207.0.3"]
    assert stage.clean


@pytest.mark.parametrize("kind", ["network", "isolate", "client-port"])
async def test_a_host_that_is_cut_off_is_healed_and_an_error(stage: Stage, kind: str) -> None:
    keys = {"delay": "10ms"} if kind == "network" else {}
    await whole(stage.fault(kind, **keys), ALL)
    control = [event.evidence for event in stage.seen(FaultInjected)]
    assert all("from the tester, agent and ssh answer on new connections" in text for text in control)

    stage.agents["h2"].knock_fails = unreachable()
    with pytest.raises(
        FaultIneffectiveError, match=r"host h2: .*cut more than it should: its agent takes no new"
    ):
        await whole(stage.fault(kind, **keys), ALL)
    assert stage.clean
    stage.agents["h2"].knock_fails = None

    stage.cut_off.add("10.207.0.3")
    with pytest.raises(
        FaultIneffectiveError, match=r"host h3: .*ssh \(10.207.0.3 port 22\) no longer answers"
    ):
        await whole(stage.fault(kind, **keys), ALL)
    assert stage.clean
    assert len(stage.seen(FaultInjected)) == 3 + 2 + 2, "those that could be reached"


async def test_ssh_that_never_answered_is_not_held_against_a_fault(stage: Stage) -> None:
    stage.silent.add("10.207.0.1")
    await whole(stage.fault("isolate"), ("h1",))
    (event,) = stage.seen(FaultInjected)
    assert isinstance(event, FaultInjected)
    assert "the agent answers (ssh did not before either)" in event.evidence


async def test_a_fault_that_comes_and_goes_does_not_look_like_an_attack_on_ssh(stage: Stage) -> None:
    scene = stage.scene()
    for label, kind in (("a", "isolate"), ("b", "isolate"), ("c", "client-port")):
        await whole(CaseFault(section(kind), label, scene, QUICK), ("h1",))
    assert stage.looks == 2 * 2, "before and after, once a kind"
    told = [event.evidence for event in stage.seen(FaultInjected)]
    assert ["ssh was looked at a moment ago" in text for text in told] == [False, True, False]
    stage.agents["h1"].knock_fails = unreachable()
    with pytest.raises(FaultIneffectiveError, match="takes no new connection"):
        await whole(CaseFault(section("isolate"), "d", scene, QUICK), ("h1",))


async def test_a_fault_on_no_traffic_is_not_looked_at_from_outside(stage: Stage) -> None:
    stage.agents["h1"].knock_fails = unreachable()
    await whole(stage.fault("kill"), ("h1",))


async def test_leaving_the_block_heals(stage: Stage) -> None:
    async def case() -> None:
        async with stage.fault() as fault:
            await fault.inject(ALL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await case()
    assert stage.clean
    assert stage.seen(FaultHealed)


async def test_one_host_fails_and_the_others_are_healed(stage: Stage) -> None:
    stage.agents["h2"].inject_fails = refused(424, "the member is still there")
    async with stage.fault() as fault:
        with pytest.raises(FaultIneffectiveError, match=r"host h2: .*the member is still there") as caught:
            await fault.inject(ALL)
        assert stage.clean
        assert "h1 healed" in stage.log
        assert "h3 healed" in stage.log
        assert "h2 heal" in stage.log  # what it did before it failed is nobody's guess
    assert "h1" not in caught.value.message


async def test_no_effect_is_no_success(stage: Stage) -> None:
    stage.agents["h2"].inject_state = FaultState.FAILED
    async with stage.fault() as fault:
        with pytest.raises(FaultIneffectiveError, match="had no effect"):
            await fault.inject(("h2",))
    assert not stage.seen(FaultInjected)
    assert not stage.seen(FaultHealed)


async def test_an_injection_without_answer_has_a_deadline(stage: Stage) -> None:
    stage.agents["h2"].inject_waits = asyncio.Event()
    timing = FaultTiming(inject=0.05, heal=0.2, attempt=0.1, retry=0.02)
    async with stage.fault(timing=timing) as fault:
        with pytest.raises(FaultIneffectiveError, match="no answer in time"):
            await fault.inject(ALL)
    assert stage.clean


async def test_a_heal_that_fails_at_first_is_tried_again(stage: Stage) -> None:
    stage.agents["h2"].heal_fails = [unreachable(), unreachable()]
    async with stage.fault(timing=FaultTiming(retry=0.01)) as fault:
        await fault.inject(ALL)
        await fault.heal()
    assert stage.clean


async def test_a_heal_that_fails_names_the_host_and_what_is_left(stage: Stage) -> None:
    stage.agents["h2"].heal_fails = [unreachable()] * 1000
    with pytest.raises(HealError) as caught:
        await whole(stage.fault(), ALL)
    assert caught.value.message.startswith("host h2: fault r2-c-h2-")
    assert "no answer; still to undo: start the member" in caught.value.message
    assert caught.value.remedy == "etcd-chaos heal --inventory inventory"
    assert stage.agents["h1"].clean
    assert stage.agents["h3"].clean


async def test_a_heal_that_failed_is_tried_once_more_on_leaving_and_no_longer(stage: Stage) -> None:
    stage.agents["h1"].heal_fails = [unreachable()] * 1000
    fault = stage.fault()
    await fault.inject(("h1",))
    with pytest.raises(HealError):
        await fault.heal()
    tried = stage.log.count("h1 heal")
    assert tried > 1
    with pytest.raises(HealError):
        await fault.__aexit__(None, None, None)
    assert stage.log.count("h1 heal") == tried + 1


async def test_a_heal_that_leaves_something_is_no_heal(stage: Stage) -> None:
    stage.agents["h1"].heal_state = FaultState.HEAL_FAILED
    with pytest.raises(HealError, match="it is heal_failed"):
        await whole(stage.fault(), ("h1",))


async def test_a_hanging_heal_has_a_deadline(stage: Stage) -> None:
    stage.agents["h1"].heal_waits = asyncio.Event()
    with pytest.raises(HealError, match="no answer in time"):
        await whole(stage.fault(), ("h1",))


async def test_an_agent_that_forgot_an_injected_fault_has_not_healed_it(stage: Stage) -> None:
    async def case() -> None:
        async with stage.fault() as fault:
            await fault.inject(("h1",))
            stage.agents["h1"].faults.clear()

    with pytest.raises(HealError, match="there is no such fault"):
        await case()


async def test_a_defect_on_one_host_does_not_keep_the_others_from_being_healed(stage: Stage) -> None:
    stage.agents["h3"].heal_fails = [KeyError("defect")]
    with pytest.raises(HealError, match="KeyError"):
        await whole(stage.fault(), ALL)
    assert stage.agents["h1"].clean
    assert stage.agents["h2"].clean


async def test_cancelled_while_injecting_heals_what_was_done(stage: Stage) -> None:
    stage.agents["h2"].inject_waits = asyncio.Event()
    fault = stage.fault()
    work = asyncio.create_task(fault.inject(ALL))
    await eventually()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert stage.clean
    assert {"h1 healed", "h2 heal", "h3 healed"} <= set(stage.log)


async def test_cancelled_while_injecting_waits_a_moment_for_answers_under_way(stage: Stage) -> None:
    gate = asyncio.Event()
    stage.agents["h2"].inject_waits = gate
    fault = stage.fault(timing=FaultTiming(abandon=30))
    work = asyncio.create_task(fault.inject(ALL))
    await eventually()
    work.cancel()
    await eventually()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert "h2 healed" in stage.log


async def test_cancelled_while_held_heals(stage: Stage) -> None:
    held = asyncio.Event()

    async def case() -> None:
        async with stage.fault() as fault:
            await fault.inject(ALL)
            held.set()
            await fault.hold(3600)

    work = asyncio.create_task(case())
    await held.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert stage.clean


async def test_cancelled_again_and_again_while_healing_still_heals(stage: Stage) -> None:
    gate = asyncio.Event()
    stage.agents["h1"].heal_waits = gate
    fault = stage.fault(timing=FaultTiming())

    async def case() -> None:
        async with fault:
            await fault.inject(ALL)
            await fault.heal()

    work = asyncio.create_task(case())
    await eventually()
    for _ in range(3):
        work.cancel()
        await eventually(turns=5)
    assert not work.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert stage.clean


async def test_cancelled_and_unhealed_is_unhealed(stage: Stage) -> None:
    stage.agents["h1"].heal_fails = [unreachable()] * 1000

    async def case() -> None:
        async with stage.fault() as fault:
            await fault.inject(ALL)
            await fault.hold(3600)

    work = asyncio.create_task(case())
    await eventually()
    work.cancel()
    with pytest.raises(HealError):
        await work


async def test_leases_are_renewed_while_held_and_no_longer(stage: Stage) -> None:
    agent = stage.agents["h1"]
    async with stage.fault("stop") as fault:
        await fault.inject(("h1",))
        assert agent.leases == [8.0]  # the grace of a stop comes on top
        await fault.hold(0.8)
        await fault.heal()
        renewals = agent.renewals
        assert renewals >= 1
        assert agent.leases[1:] == [1.0] * renewals
        await asyncio.sleep(0.5)
    assert agent.renewals == renewals


async def test_a_renewal_that_is_lost_now_and_then_is_only_told(stage: Stage) -> None:
    agent = stage.agents["h1"]
    agent.renew_fails_once = unreachable()
    async with stage.fault() as fault:
        await fault.inject(("h1",))
        await fault.hold(0.8)
        await fault.heal()
    notices = stage.seen(Notice)
    assert len(notices) == 1
    assert "was not renewed, trying again" in str(notices[0])


async def test_renewals_that_fail_for_the_whole_lease_end_the_hold(stage: Stage) -> None:
    stage.agents["h1"].renew_fails = unreachable()
    async with stage.fault() as fault:
        await fault.inject(("h1",))
        with pytest.raises(FaultIneffectiveError, match="not renewed for 1s"):
            await fault.hold(60)
        await fault.heal()  # what is known is not raised again
    assert stage.clean


async def test_a_fault_that_healed_itself_ends_the_hold(stage: Stage) -> None:
    async with stage.fault() as fault:
        await fault.inject(("h1",))
        stage.agents["h1"].heals_itself()
        with pytest.raises(FaultIneffectiveError, match=r"it is healed \(by lease\)"):
            await fault.hold(60)


async def test_a_fault_that_healed_itself_unnoticed_is_noticed_when_it_is_healed(stage: Stage) -> None:
    async with stage.fault(timing=FaultTiming()) as fault:
        await fault.inject(("h1",))
        stage.agents["h1"].heals_itself()
        await fault.hold(0.0)
        with pytest.raises(FaultIneffectiveError, match="ended before its time: healed by lease"):
            await fault.heal()


async def test_an_early_end_does_not_hide_what_went_wrong_in_the_block(stage: Stage) -> None:
    async def case() -> None:
        async with stage.fault(timing=FaultTiming()) as fault:
            await fault.inject(("h1",))
            stage.agents["h1"].heals_itself()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await case()


async def test_an_early_end_nobody_asked_about_is_told_on_leaving(stage: Stage) -> None:
    async def case() -> None:
        async with stage.fault(timing=FaultTiming()) as fault:
            await fault.inject(("h1",))
            stage.agents["h1"].heals_itself()

    with pytest.raises(FaultIneffectiveError, match="healed by lease"):
        await case()
