"""Who is a member when: in the list that everybody follows, and read back from a history."""

from __future__ import annotations

import pytest

from tester.checkers import run_checkers
from tester.clock import RunClock
from tester.etcd.monitor import ClusterMonitor
from tester.events import Event, EventBus, MembershipChange, MembershipChanged
from tester.history.endstate import EndState, MemberEnd, MemberExit
from tester.history.history import History
from tester.history.membership import may_end, voters_at
from tester.history.records import Header, HistoryRecord, MemberRecord
from tester.membership import Membership
from tester.results import Verdict
from tester.roundlog import to_record
from tests.unit.load.fakes import ENDPOINTS
from tests.unit.load.test_monitor import Told

HEADER = Header(1, "run", 1, "s", 7, 0, "p/", ("m1", "m2"))
STORY: list[HistoryRecord] = [
    HEADER,
    MemberRecord(100, "m2", "leaving"),
    MemberRecord(150, "m2", "exited", expected=False, text="ended with status 0"),
    MemberRecord(200, "m3", "added-learner"),
    MemberRecord(300, "m3", "promoted"),
    MemberRecord(400, "m2", "added"),
]


@pytest.mark.parametrize(
    ("at", "voters"),
    [(0, {"m1", "m2"}), (100, {"m1"}), (250, {"m1"}), (300, {"m1", "m3"}), (400, {"m1", "m2", "m3"})],
)
def test_voters_at_a_time(at: int, voters: set[str]) -> None:
    assert set(voters_at(History(STORY), at)) == voters


@pytest.mark.parametrize(
    ("member", "at", "excused"),
    [("m2", 99, False), ("m2", 100, True), ("m2", 401, False), ("m1", 150, False)],
)
def test_who_may_end(member: str, at: int, excused: bool) -> None:  # noqa: FBT001 - a table
    assert may_end(History(STORY), member, at) is excused


def ended(at: int) -> tuple[MemberExit, ...]:
    return (MemberExit(at, expected=False, cause="unexpected", code=0),)


@pytest.mark.parametrize(
    ("at", "verdict"), [(150, Verdict.VALID), (99, Verdict.INVALID), (450, Verdict.INVALID)]
)
def test_the_end_of_a_member_that_goes_is_no_finding(at: int, verdict: Verdict) -> None:
    history = History([*STORY[:2], *STORY[3:]])
    end = EndState(
        500, {"m1": MemberEnd(exits=()), "m2": MemberEnd(exits=ended(at)), "m3": MemberEnd(exits=())}
    )
    (result,) = run_checkers(["exits"], history, end)
    assert result.verdict is verdict, result.message


def test_a_member_that_is_gone_is_not_missed_and_one_that_came_is() -> None:
    one = MemberEnd(revision=3, hash=1, hash_revision=3, content=(), exits=())
    alone = EndState(250, {"m1": one})
    (result,) = run_checkers(["kv-hash"], History(STORY), alone)
    assert result.verdict is Verdict.VALID, result.message
    (result,) = run_checkers(["kv-hash"], History(STORY), EndState(350, {"m1": one}))
    assert (result.verdict, "m3 is not in the end state" in result.message) == (Verdict.UNKNOWN, True)


class Follows:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def joined(self, member: str) -> None:
        self.told.append(f"+{member}")

    async def left(self, member: str) -> None:
        self.told.append(f"-{member}")


async def test_everybody_is_told_in_order() -> None:
    told = Told(m1=(1, 4), m2=(1, 4), m3=None)
    bus, clock = EventBus(), RunClock()
    heard: list[Event] = []
    bus.subscribe(heard.append)
    monitor = ClusterMonitor(ENDPOINTS[:2], clock, bus, told.connect)
    await monitor.start()
    await monitor.wait_leader(5.0)
    membership = Membership(ENDPOINTS, ["m1", "m2"], monitor, clock, bus)
    follows = Follows()
    membership.subscribe(follows)
    assert (membership.names, membership.spares) == (("m1", "m2"), ("m3",))

    await membership.leaving("m2")
    await membership.left("m2")
    assert (membership.names, membership.spares) == (("m1",), ("m2", "m3"))
    assert monitor.view().leader == "m1", "one of one is a quorum"
    assert monitor.view().voters == ("m1",)

    membership.added("m3", learner=True)
    assert monitor.view().learners == ("m3",), "before it was ever heard of"
    assert membership.spares == ("m2",)
    await membership.leaving("m3")  # a learner: nobody followed it yet
    await membership.left("m3")
    membership.added("m2", learner=False)
    await membership.joined("m2")
    assert follows.told == ["-m2", "+m2"]
    assert membership.names == ("m1", "m2")
    assert await monitor.wait_leader(5.0) < 5.0
    await monitor.stop()
    changes = [event for event in heard if isinstance(event, MembershipChanged)]
    assert [(event.member, event.change) for event in changes] == [
        ("m2", MembershipChange.LEAVING),
        ("m3", MembershipChange.ADDED_LEARNER),
        ("m3", MembershipChange.LEAVING),
        ("m2", MembershipChange.ADDED),
    ]
    records = [to_record(event) for event in changes]
    assert isinstance(records[0], MemberRecord)
    assert records[0].state == "leaving"
