import asyncio

import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.clock import RunClock
from tester.errors import ClusterError
from tester.etcd.channel import Method
from tester.etcd.client import EtcdClient, prefix_end
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.monitor import ClusterMonitor
from tester.events import Event, EventBus, LeaderChanged
from tests.unit.load.fakes import ENDPOINTS, FakeChannel

IS_LEARNER = b"\x50\x01"  # field 10 of StatusResponse, which the stubs do not know
COMPLAINT = b"\x42\x0aalarm: yes"  # field 8


class Told:
    """Members that say what the test tells them to: (leader, term), or ``None`` for no answer."""

    def __init__(self, **says: tuple[int, int] | None) -> None:
        self.says = says
        self.learners: set[str] = set()
        self.refusing: set[str] = set()

    def connect(self, endpoint: Endpoint) -> FakeChannel:
        async def answer(method: Method, request: bytes) -> bytes:
            return self.answer(endpoint.member, method, request)

        return FakeChannel(answer)

    def answer(self, member: str, method: Method, request: bytes) -> bytes:
        says = self.says[member]
        if says is None or (method is not Method.STATUS and member in self.refusing):
            raise RpcError(StatusCode.UNAVAILABLE, "no answer from it")
        linearizable = method is Method.RANGE and not pb.RangeRequest.FromString(request).serializable
        if member in self.learners and linearizable:
            raise RpcError(StatusCode.UNAVAILABLE, "etcdserver: rpc not supported for learner")
        if method is not Method.STATUS:
            return b""
        leader, term = says
        header = pb.ResponseHeader(member_id=int(member[1:]), revision=5)
        status = pb.StatusResponse(header=header, leader=leader, raftTerm=term, version="3.5.1")
        return bytes(status.SerializeToString()) + (IS_LEARNER if member in self.learners else b"")


async def monitor_of(told: Told, seen: list[Event] | None = None) -> ClusterMonitor:
    bus = EventBus()
    if seen is not None:
        bus.subscribe(seen.append)
    monitor = ClusterMonitor(ENDPOINTS, RunClock(), bus, told.connect)
    await monitor.start()
    await asyncio.sleep(0.05)
    return monitor


async def test_the_leader_is_who_a_quorum_follows() -> None:
    told = Told(m1=(2, 4), m2=(2, 4), m3=(2, 4))
    monitor = await monitor_of(told)
    assert (monitor.view().leader, monitor.view().term) == ("m2", 4)
    assert await monitor.wait_leader(1.0) < 1.0
    await monitor.stop()


@pytest.mark.parametrize(
    ("says", "leader"),
    [
        ({"m1": (1, 4), "m2": (2, 5), "m3": (2, 5)}, "m2"),  # m1 is cut off and does not know that it lost
        ({"m1": (0, 99), "m2": (2, 5), "m3": (2, 5)}, "m2"),  # m1 is cut off and campaigns for ever
        ({"m1": (1, 4), "m2": (0, 5), "m3": (0, 5)}, None),  # nobody is elected yet
        ({"m1": (1, 4), "m2": None, "m3": None}, None),
        ({"m1": (3, 4), "m2": (3, 4), "m3": None}, None),  # followers of one who was never heard of by name
    ],
)
async def test_one_voice_or_the_newest_term_is_not_enough(
    says: dict[str, tuple[int, int] | None], leader: str | None
) -> None:
    monitor = await monitor_of(Told(**says))
    assert monitor.view().leader == leader
    await monitor.stop()


async def test_changes_are_published_once() -> None:
    seen: list[Event] = []
    told = Told(m1=(1, 2), m2=(1, 2), m3=(1, 2))
    monitor = await monitor_of(told, seen)
    told.says = {"m1": None, "m2": (0, 3), "m3": (0, 3)}
    await asyncio.sleep(0.25)
    told.says = {"m1": (2, 3), "m2": (2, 3), "m3": (2, 3)}
    await asyncio.sleep(0.25)
    await monitor.stop()
    changes = [(e.leader, e.term) for e in seen if isinstance(e, LeaderChanged)]
    assert changes == [("m1", 2), (None, 2), ("m2", 3)]


async def test_learners_are_no_voters_and_serve_reads_of_their_own_state_alone() -> None:
    told = Told(m1=(1, 2), m2=(1, 2), m3=(1, 2))
    told.learners = {"m3"}
    monitor = await monitor_of(told)
    view = monitor.view()
    assert (view.voters, view.learners) == (("m1", "m2"), ("m3",))
    await monitor.wait_serving(1.0)
    told.refusing = {"m3"}
    with pytest.raises(ClusterError, match="m3: UNAVAILABLE: no answer from it"):
        await monitor.wait_serving(0.1)
    await monitor.wait_writes(1.0)
    with pytest.raises(ClusterError, match="m3: UNAVAILABLE: no answer from it"):
        await monitor.wait_writes(0.1, ["m1", "m3"])
    await monitor.stop()


async def test_waiting_for_a_leader_needs_its_own_word_and_says_what_was_seen() -> None:
    told = Told(m1=(1, 2), m2=(1, 2), m3=(1, 2))
    monitor = await monitor_of(told)
    told.says["m1"] = None
    with pytest.raises(ClusterError, match="m1: UNAVAILABLE: no answer from it; m2 follows m1 in term 2"):
        await monitor.wait_leader(0.3)
    told.says["m1"] = (1, 2)
    await monitor.wait_leader(1.0)
    await monitor.stop()


async def test_a_poller_that_dies_is_noticed() -> None:
    told = Told(m1=(1, 2), m2=(1, 2))
    monitor = await monitor_of(told)
    with pytest.raises(Exception, match="monitor m3 died"):
        monitor.check_alive()
    await monitor.stop()


async def test_fields_newer_than_the_stubs_are_read() -> None:
    status = pb.StatusResponse(leader=3).SerializeToString() + IS_LEARNER + COMPLAINT

    async def answer(method: Method, request: bytes) -> bytes:
        return bytes(status)

    health = await EtcdClient(ENDPOINTS[0], FakeChannel(answer)).status()
    assert health.is_learner
    assert health.errors == ("alarm: yes",)
    assert health.leader_id == 3


async def test_garbage_is_an_rpc_error() -> None:
    async def answer(method: Method, request: bytes) -> bytes:
        return b"\xff\xff"

    with pytest.raises(RpcError, match="m1 sent no StatusResponse"):
        await EtcdClient(ENDPOINTS[0], FakeChannel(answer)).status()


def test_ends_of_prefixes() -> None:
    assert prefix_end("a/") == b"a0"
    assert Endpoint("m", "::1", 2379).authority == "[::1]:2379"
