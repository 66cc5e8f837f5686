"""When the actions of a case are done, and on whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tester.actions import course, disaster
from tester.actions.course import CaseActions, Disaster
from tester.actions.disaster import Snapshot
from tester.actions.ground import Done, Ground
from tester.clock import RunClock
from tester.errors import ActionError, FaultIneffectiveError, ScenarioError
from tester.events import Event, EventBus, Notice
from tester.results import CheckResult, Verdict
from tester.scenario.loader import parse_scenario
from tester.targets import Roles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tester.scenario.actions import AnyAction

CHECK = CheckResult("refusals", Verdict.VALID, "all of them")
Hook = tuple[list[str], list[Event]]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, instead of doing it."""
    done: list[str] = []

    async def perform(
        action: AnyAction,
        _ground: Ground,
        targets: Callable[[Any], tuple[str, ...]],
        _rng: Random,
        _held: Callable[[], Collection[str]],
    ) -> Done:
        await asyncio.sleep(0)
        whom = targets(action.target) if hasattr(action, "target") else ()
        if action.kind() == "exceed-quota":
            raise ActionError("it was not")
        done.append(f"{action.kind()} {' '.join(whom)}".rstrip())

        async def rest() -> Done:
            done.append(f"the rest of {action.kind()}")
            return Done(whom, "done at last", (CHECK,))

        return Done(whom, "done so", (CHECK,), rest if action.kind() == "compact" else None)

    monkeypatch.setattr(course, "_perform", perform)
    return done


def actions(
    text: str,
    leader: str | None = "m2",
    fault: str = "fault: kill, until: entries",
    place: Disaster | None = None,
) -> tuple[CaseActions, list[Event]]:
    case = parse_scenario(
        f"name: s\nstressers: [{{kind: kv}}]\ncases: [{{name: c, {fault}, actions: [{text}]}}]", "s.yml"
    ).cases[0]
    events: list[Event] = []
    bus = EventBus()
    bus.subscribe(events.append)
    ground = cast("Ground", SimpleNamespace(clock=RunClock(), bus=bus))
    look = lambda: Roles(("m1", "m2", "m3"), leader)  # noqa: E731 - as short as it can be
    return CaseActions(case, ground, look, lambda number: Random(number), place), events  # noqa: PLW0108


async def test_one_after_the_other_on_whom_they_mean_now(heard: list[str]) -> None:
    made, events = actions(
        "{action: defragment, target: leader}, {action: mistakes}, {action: move-leader, target: m3}"
    )
    made.reached.set()
    await made.run()
    assert heard == ["defragment m2", "mistakes", "move-leader m3"]
    assert [result.targets for result in made.done] == [("m2",), (), ("m3",)]
    assert made.checks == [CHECK] * 3
    assert [event.text for event in events if isinstance(event, Notice)] == ["c: done so"] * 3


async def test_those_that_were_hit_when_what_is_waited_for_is_so(heard: list[str]) -> None:
    made, _ = actions(
        "{action: defragment, target: m1}, {action: remove-and-add-back, target: same, last: true}"
    )
    made.hit = ("m3",)
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0.05)
    assert heard == ["defragment m1"]
    made.reached.set()
    await running
    assert heard == ["defragment m1", "remove-and-add-back m3"]


async def test_those_that_come_first_come_before_the_faults(heard: list[str]) -> None:
    made, _ = actions("{action: mistakes}, {action: defragment, target: m1, first: true}")
    made.reached.set()
    await made.prepare()
    assert heard == ["defragment m1"]
    await made.run()
    assert heard == ["defragment m1", "mistakes"]


async def test_a_snapshot_is_restored_in_the_case_that_saved_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def save(_ground: Ground, member: str, file: Path) -> tuple[Done, Snapshot]:
        told.append(f"save {member} {file}")
        return Done((member,), "saved"), Snapshot(file, member, 1, 2, 3)

    async def restore(_ground: Ground, _turn: object, snapshot: Snapshot, onto: Any, _lose: object) -> Done:
        told.append(f"restore {snapshot.member} on {' '.join(onto)}")
        return Done(tuple(onto), "restored")

    class Turn:
        async def quiet(self) -> None:
            told.append("quiet")

    monkeypatch.setattr(disaster, "save", save)
    monkeypatch.setattr(disaster, "restore", restore)
    place = Disaster(cast("Any", Turn()), Path("snapshot.db"))
    made, _ = actions(
        "{action: save-snapshot, quiet: true}, {action: restore-snapshot, target: all - same}",
        fault="fault: lose-data, until: entries, allow_quorum_loss: true",
        place=place,
    )
    made.hit = ("m1", "m3")
    made.reached.set()
    with pytest.raises(ActionError, match="the case has saved none"):
        await made.run()
    await made.prepare()
    await made.run()
    assert told == ["quiet", "save m2 snapshot.db", "restore m2 on m2"]
    made, _ = actions("{action: save-snapshot}")
    with pytest.raises(ActionError, match="nobody keeps a history"):
        await made.prepare()


async def test_what_was_done_before_an_error_is_kept(heard: list[str]) -> None:
    made, _ = actions("{action: mistakes}, {action: exceed-quota}")
    with pytest.raises(ActionError, match="it was not"):
        await made.run()
    assert [result.action for result in made.done] == ["mistakes"]
    made, _ = actions("{action: defragment, target: leader}", leader=None)
    with pytest.raises(FaultIneffectiveError, match="no member leads now"):
        await made.run()


async def test_what_needs_every_member_waits_until_the_faults_are_healed(heard: list[str]) -> None:
    made, _ = actions("{action: compact}, {action: mistakes}")
    made.reached.set()
    await made.run()
    assert heard == ["compact", "mistakes"]
    assert made.unfinished
    await made.finish()
    assert heard == ["compact", "mistakes", "the rest of compact"]
    assert [result.text for result in made.done] == ["done so", "done so", "done at last"]
    assert not made.unfinished

    made, _ = actions("{action: compact}, {action: mistakes}", fault="fault: none")
    heard.clear()
    await made.run()
    assert heard == ["compact", "the rest of compact", "mistakes"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("fault: none, until: snapshot", "until: means nothing where the fault is none"),
        ("fault: kill, actions: [{action: defragment, last: true}]", "last: waits for nothing; say until"),
        ("fault: none, actions: [{action: defragment, target: same}]", "target: no fault hits anybody"),
        ("fault: none, actions: [{action: grow}]", r"actions\[0\].to: is missing"),
        (
            "fault: kill, actions: [{action: exceed-quota}, {action: mistakes}]",
            r"actions\[0\].action: comes before other actions, and nothing takes writes",
        ),
        (
            "fault: kill, target: learner",
            r"target: target learner: no learner stands then; add one before it",
        ),
        ("fault: none, actions: [{action: promote}]", r"actions\[0\].target: target learner: no learner"),
        ("fault: none, actions: [{action: explode}]", "'explode' is not one of its values"),
        ("fault: none, actions: [{action: mistakes, make: []}]", "make"),
        ("fault: failpoint, terms: {beforeCommit: print}", "terms"),
        ("fault: failpoint", "terms: is missing"),
        ("fault: failpoint, every: panic, terms: {a: panic}", "every: means nothing beside terms"),
        (
            "faults: [{fault: failpoint, every: panic}, {fault: failpoint, every: panic, after: 1s, target: same}]",
            r"faults\[1\].every: a second one in a case",
        ),
        ("fault: kill, until: entries, load: false", "until: waits for entries that nobody writes"),
    ],
)
def test_what_makes_no_sense_is_told(case: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_scenario(f"name: s\nstressers: [{{kind: kv}}]\ncases: [{{name: c, {case}}}]", "s.yml")
