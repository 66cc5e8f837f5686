"""What a round does to its cluster in the end, on members that are made up and may misbehave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester import compaction
from tester.compaction import Skipped, compact
from tester.defragmentation import defragment
from tester.etcd.channel import Method
from tester.etcd.errors import RpcError, StatusCode
from tester.results import CheckResult, Verdict
from tests.unit.load.fakes import ENDPOINTS, FakeChannel

if TYPE_CHECKING:
    from tester.etcd.endpoint import Endpoint

COMPACTED = RpcError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
NOW = 900


class Compacting:
    """Three members at revision 900; m2's watches say what the test wants."""

    def __init__(self, compacted: int = 0, watch: pb.WatchResponse | None = None) -> None:
        self.compacted = compacted
        self.forgets = True
        self.watch = watch

    def connect(self, endpoint: Endpoint) -> FakeChannel:
        async def answer(method: Method, request: bytes) -> bytes:
            if method is Method.COMPACT:
                asked = pb.CompactionRequest.FromString(request).revision
                if asked <= self.compacted:
                    raise COMPACTED
                self.compacted = asked
            revision = pb.RangeRequest.FromString(request).revision if method is Method.RANGE else 0
            if revision and revision < self.compacted and (self.forgets or endpoint.member != "m2"):
                raise COMPACTED
            return bytes(pb.RangeResponse(header=pb.ResponseHeader(revision=NOW)).SerializeToString())

        return FakeChannel(answer)

    def stream(self, endpoint: Endpoint) -> _Stream:
        honest = pb.WatchResponse(canceled=True, compact_revision=self.compacted)
        return _Stream(self.watch if endpoint.member == "m2" and self.watch is not None else honest)


class _Stream:
    def __init__(self, says: pb.WatchResponse) -> None:
        self._says = [pb.WatchResponse(created=True), says]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def create(self, key: str, range_end: bytes, revision: int) -> None:
        assert (key, range_end, revision) == ("etcd-chaos/probe/compaction", b"", NOW - 100 - 1)

    async def read(self) -> pb.WatchResponse:
        if not self._says or self._says[0] == SILENCE:
            await asyncio.sleep(60)
        return self._says.pop(0)


SILENCE = pb.WatchResponse(watch_id=99)


async def compacted(
    monkeypatch: pytest.MonkeyPatch, cluster: Compacting, keep: int = 100
) -> CheckResult | Skipped:
    monkeypatch.setattr(compaction, "connect", cluster.connect)
    monkeypatch.setattr(compaction, "WatchStream", cluster.stream)
    monkeypatch.setattr(compaction, "_WATCH_SECONDS", 0.2)
    return await compact(ENDPOINTS, keep, lambda _revision: None)


async def test_every_member_forgets_and_tells_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    result = await compacted(monkeypatch, Compacting())
    assert isinstance(result, CheckResult)
    assert (result.verdict, result.findings) == (Verdict.VALID, ())


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        (SILENCE, "nothing for 0.2 s"),
        (pb.WatchResponse(canceled=True), "that the watch is canceled, and not why"),
        (pb.WatchResponse(canceled=True, compact_revision=5), "compacted at 5"),
        (pb.WatchResponse(events=[{"kv": {"mod_revision": 799}}]), "changes, the first at revision 799"),
    ],
)
async def test_a_watch_that_is_not_told(
    monkeypatch: pytest.MonkeyPatch, watch: pb.WatchResponse, said: str
) -> None:
    result = await compacted(monkeypatch, Compacting(watch=watch))
    assert isinstance(result, CheckResult)
    assert result.verdict is Verdict.INVALID
    assert [finding.message for finding in result.findings] == [
        f"m2 was asked for a watch from revision 799, compacted at 800: it said {said}"
    ]


async def test_a_member_that_still_serves_what_is_compacted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Compacting()
    cluster.forgets = False
    result = await compacted(monkeypatch, cluster)
    assert isinstance(result, CheckResult)
    assert (result.verdict, result.findings[0].members) == (Verdict.INVALID, ("m2",))


@pytest.mark.parametrize(
    ("cluster", "keep", "reason"),
    [
        (Compacting(), 899, "nothing to compact: revision 900, 899 are kept"),
        (Compacting(compacted=850), 100, "nothing to compact: revision 800 of 900 is compacted already"),
    ],
)
async def test_where_nothing_is_compacted_nothing_is_proven(
    monkeypatch: pytest.MonkeyPatch, cluster: Compacting, keep: int, reason: str
) -> None:
    assert await compacted(monkeypatch, cluster, keep) == Skipped(reason)


class Defragmenting:
    """Three members; m2 may grow, lose a key or go away by its defragmentation."""

    def __init__(self, grows: int = 0, *, loses: bool = False, goes: bool = False) -> None:
        self.grows, self.loses, self.goes = grows, loses, goes

    def connect(self, endpoint: Endpoint) -> FakeChannel:
        done = False

        async def answer(method: Method, request: bytes) -> bytes:
            nonlocal done
            bad = done and endpoint.member == "m2"
            if method is Method.DEFRAGMENT:
                done = True
                return b""
            if bad and self.goes:
                raise RpcError(StatusCode.UNAVAILABLE, "gone")
            if method is Method.STATUS:
                size = 8_000_000 + (self.grows if bad else -1_000_000 if done else 0)
                return bytes(pb.StatusResponse(dbSize=size).SerializeToString())
            keys = [] if bad and self.loses else [{"key": b"etcd-chaos/load/1", "value": b"1"}]
            header = pb.ResponseHeader(revision=NOW)
            return bytes(pb.RangeResponse(header=header, kvs=keys).SerializeToString())

        return FakeChannel(answer)


@pytest.mark.parametrize(
    ("cluster", "verdict", "message"),
    [
        (Defragmenting(), Verdict.VALID, "every member serves what it had; m1 8000000 to 7000000 bytes in"),
        (Defragmenting(grows=500_000), Verdict.VALID, "m2 8000000 to 8500000 bytes"),
        (
            Defragmenting(grows=3_000_000),
            Verdict.INVALID,
            "the database of m2 grew by its defragmentation, from 8000000 to 11000000 bytes",
        ),
        (Defragmenting(loses=True), Verdict.INVALID, "m2 serves other content at revision 900"),
        (Defragmenting(goes=True), Verdict.UNKNOWN, "m2 could not be defragmented: UNAVAILABLE: gone"),
    ],
)
async def test_what_a_defragmentation_must_not_do(
    cluster: Defragmenting, verdict: Verdict, message: str
) -> None:
    result = await defragment(ENDPOINTS, cluster.connect)
    assert (result.checker, result.verdict) == ("defragmentation", verdict)
    assert message in result.message
