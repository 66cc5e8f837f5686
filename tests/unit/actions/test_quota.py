"""What a cluster over its quota may answer, and what that proves. ``tests/agent`` asks real ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.actions.quota import exceed_quota
from tester.etcd.channel import Method
from tester.etcd.errors import RpcError, StatusCode
from tester.results import Verdict
from tests.unit.load.fakes import ENDPOINTS, FakeChannel

if TYPE_CHECKING:
    from tester.actions.ground import Ground
    from tester.etcd.endpoint import Endpoint

FULL = RpcError(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
SILENT = RpcError(StatusCode.DEADLINE_EXCEEDED, "no answer")
ELSEWISE = RpcError(StatusCode.UNAVAILABLE, "etcdserver: request timed out")


class FullCluster:
    """Three members with NOSPACE raised by m1, of which m2 may misbehave."""

    def __init__(
        self,
        *,
        read: RpcError | None = None,
        write: RpcError | None = FULL,
        listed: bool = True,
        clears: bool = True,
        heals: bool = True,
    ) -> None:
        self.m2 = {Method.RANGE: read, Method.PUT: write}
        self.alarms = True
        self.listed = listed
        self.clears = clears
        self.heals = heals

    def heal(self) -> None:
        """End what made m2 misbehave."""
        if self.heals:
            self.m2 = {Method.RANGE: None, Method.PUT: FULL}

    def connect(self, endpoint: Endpoint) -> FakeChannel:
        async def answer(method: Method, request: bytes) -> bytes:
            if method is Method.ALARM:
                if pb.AlarmRequest.FromString(request).action == 2 and self.clears:
                    self.alarms = False
                    self.m2[Method.PUT] = None
                alarms = [pb.AlarmMember(memberID=1, alarm=1)] if self.alarms and self.listed else []
                return bytes(pb.AlarmResponse(alarms=alarms).SerializeToString())
            error = FULL if method is Method.PUT and self.alarms else None
            if endpoint.member == "m2" and method in self.m2:
                error = self.m2[method]
            if error is not None:
                raise error
            if method is Method.RANGE:
                return bytes(pb.RangeResponse(header=pb.ResponseHeader(revision=9)).SerializeToString())
            return b""

        return FakeChannel(answer)

    def ground(self) -> Ground:
        by_name = {endpoint.member: endpoint for endpoint in ENDPOINTS}
        made = SimpleNamespace(
            membership=SimpleNamespace(names=tuple(by_name), endpoint=by_name.__getitem__),
            monitor=SimpleNamespace(view=lambda: SimpleNamespace(leader="m1")),
            connect=self.connect,
            limit=0.3,
            announce_compaction=lambda _revision: None,
        )
        return cast("Ground", made)


async def verdicts(cluster: FullCluster, held: tuple[str, ...] = ()) -> list[tuple[Verdict, str]]:
    """Before the heal and after it."""
    done = await exceed_quota(cluster.ground(), lambda: held)
    cluster.heal()
    assert done.rest is not None
    rest = await done.rest()
    return [(check.verdict, check.message) for check in (*done.checks, *rest.checks)]


async def test_a_cluster_that_does_as_it_should() -> None:
    before, after = await verdicts(FullCluster())
    assert before == (
        Verdict.VALID,
        "NOSPACE was raised by 1 members; refuse writes and serve reads: m1, m2, m3",
    )
    assert after == (Verdict.VALID, "room was made, NOSPACE was cleared, and writes are taken again")


@pytest.mark.parametrize("error", [SILENT, ELSEWISE])
@pytest.mark.parametrize("held", [(), ("m2",)])
async def test_who_does_not_answer_is_asked_again_after_the_heal(
    error: RpcError, held: tuple[str, ...]
) -> None:
    before, after = await verdicts(FullCluster(read=error, write=error), held)
    assert (before[0], "m1, m3" in before[1]) == (Verdict.VALID, True)
    assert (after[0], "m2 refused writes and served reads, too" in after[1]) == (Verdict.VALID, True)


async def test_who_never_answers_is_a_doubt() -> None:
    cluster = FullCluster(read=SILENT, heals=False)
    _, after = await verdicts(cluster)
    assert after == (
        Verdict.UNKNOWN,
        "m2 gave no answer that says something about the quota: DEADLINE_EXCEEDED: no answer",
    )


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (FullCluster(write=None), "m2 takes a write while NOSPACE is raised"),
        (FullCluster(read=FULL), "m2 does not serve a read while NOSPACE is raised"),
        (FullCluster(listed=False), "no NOSPACE alarm is raised"),
    ],
)
async def test_what_etcd_must_not_do(cluster: FullCluster, message: str) -> None:
    before, _ = await verdicts(cluster)
    assert before[0] is Verdict.INVALID
    assert message in before[1]


async def test_an_alarm_that_cannot_be_cleared() -> None:
    _, after = await verdicts(FullCluster(clears=False))
    assert after == (Verdict.INVALID, "alarms are left although room was made: NOSPACE")
