"""Watchers against a member that does as the test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.clock import RunClock
from tester.errors import LoadError
from tester.etcd.endpoint import Endpoint
from tester.history.records import ClientRecord, HistoryRecord, Watched, WatchEnd, WatchStart
from tester.load import watcher as watcher_module
from tester.load.watcher import Watcher
from tests.unit.load.fakes import Sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection


class Served:
    """Grants every watch, sends the scripted responses of that stream, then answers progress requests."""

    def __init__(
        self, *streams: list[pb.WatchResponse], answers_progress: bool = True, revision: int = 100
    ) -> None:
        self.streams = list(streams)
        self.answers_progress = answers_progress
        self.revision = revision
        """Where the member is, for who asks it with a read."""
        self.asked: list[int] = []

    async def range(self, request: pb.RangeRequest, context: object) -> pb.RangeResponse:
        assert request.serializable, "the member's own revision, not the cluster's"
        return pb.RangeResponse(header=pb.ResponseHeader(revision=self.revision))

    async def watch(
        self, requests: AsyncIterator[pb.WatchRequest], context: object
    ) -> AsyncIterator[pb.WatchResponse]:
        async for request in requests:
            if request.HasField("create_request"):
                self.asked.append(request.create_request.start_revision)
                yield pb.WatchResponse(created=True, header=pb.ResponseHeader(revision=1))
                for response in self.streams.pop(0) if self.streams else []:
                    yield response
                if self.streams:
                    return  # more is scripted: this stream ends here
            elif self.answers_progress:
                yield progress(1)


def event(revision: int) -> pb.WatchResponse:
    kv = kv_pb2.KeyValue(key=b"p/k", value=b"1:", mod_revision=revision)
    return pb.WatchResponse(header=pb.ResponseHeader(revision=revision), events=[kv_pb2.Event(kv=kv)])


def progress(revision: int) -> pb.WatchResponse:
    return pb.WatchResponse(header=pb.ResponseHeader(revision=revision), watch_id=-1)


@asynccontextmanager
async def watching(served: Served, sink: Sink, absent: Collection[str] = ()) -> AsyncIterator[Watcher]:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        served.watch,
        request_deserializer=pb.WatchRequest.FromString,
        response_serializer=pb.WatchResponse.SerializeToString,
    )
    reads = grpc.unary_unary_rpc_method_handler(
        served.range,
        request_deserializer=pb.RangeRequest.FromString,
        response_serializer=pb.RangeResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler("etcdserverpb.Watch", {"Watch": handler}),
            grpc.method_handlers_generic_handler("etcdserverpb.KV", {"Range": reads}),
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    watcher = Watcher(4, Endpoint("m", "127.0.0.1", port), sink, RunClock(), "p/", 2, absent=absent)
    await watcher.start()
    try:
        yield watcher
    finally:
        await watcher.stop()
        await server.stop(None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "_PROGRESS_SECONDS", 0.1)
    monkeypatch.setattr(watcher_module, "_STALLED_SECONDS", 1.0)
    monkeypatch.setattr(watcher_module, "_RECONNECT_SECONDS", 0.02)


async def test_resuming_trusts_events_and_not_bookmarks() -> None:
    served, sink = Served([event(5), progress(100)], [event(6)]), Sink()
    async with watching(served, sink) as watcher:
        assert await watcher.caught_up(6, 10)
        assert not await watcher.caught_up(7, 0.05)
        assert watcher.delivered == 6
    assert served.asked == [2, 6]
    assert [r.rev for r in sink.records if isinstance(r, WatchStart)] == [2, 6]
    assert [e.m for r in sink.records if isinstance(r, Watched) for e in r.ev] == [5, 6]
    assert isinstance(sink.records[-1], WatchEnd)
    assert sink.records[-1].reason == "the watcher was stopped"


async def test_who_is_no_member_is_asked_when_it_is_one() -> None:
    sink, absent = Sink(), {"m"}
    served = Served([event(5)], [event(6)])
    async with watching(served, sink, absent) as watcher:
        assert watcher.is_absent
        assert not await watcher.caught_up(5, 0.3), "15 times as long as it waits before it looks again"
        assert served.asked == []
        absent.clear()
        assert await watcher.caught_up(6, 10)
    assert served.asked == [2, 6]


async def test_a_stream_that_falls_silent_is_ended_and_resumed() -> None:
    served, sink = Served([event(5)], answers_progress=False), Sink()
    async with watching(served, sink):
        for _ in range(200):
            if len(served.asked) > 1:
                break
            await asyncio.sleep(0.05)
    assert served.asked[:2] == [2, 6]
    end = next(r for r in sink.records if isinstance(r, WatchEnd))
    assert end.reason.startswith("stalled")


async def test_a_member_that_is_not_there_yet_owes_no_answer() -> None:
    """Nothing was written since the last event: from etcd 3.5.8 on, not even progress is told then."""
    served, sink = Served([event(5)], answers_progress=False, revision=5), Sink()
    async with watching(served, sink):
        await asyncio.sleep(3.0)
        assert not any(isinstance(r, WatchEnd) for r in sink.records)
        assert served.asked == [2]
        served.revision = 6  # a write that the stream does not tell: now it has stalled
        for _ in range(200):
            if len(served.asked) > 1:
                break
            await asyncio.sleep(0.05)
    assert served.asked[:2] == [2, 6]


async def test_a_quiet_stream_that_answers_is_left_alone() -> None:
    served, sink = Served([event(5)]), Sink()
    async with watching(served, sink):
        await asyncio.sleep(2.0)
        assert not any(isinstance(r, WatchEnd) for r in sink.records)
    assert served.asked == [2]


async def test_a_watcher_that_dies_is_recorded_and_raised() -> None:
    class Defective(Sink):
        def write(self, record: HistoryRecord) -> None:
            if isinstance(record, Watched):
                raise ZeroDivisionError("a defect")
            super().write(record)

    sink = Defective()
    async with watching(Served([event(5)]), sink) as watcher:
        with pytest.raises(LoadError, match="watcher 4 on m died: ZeroDivisionError"):
            await watcher.caught_up(5, 10)
    death = sink.records[-1]
    assert isinstance(death, ClientRecord)
    assert death.c == -1
