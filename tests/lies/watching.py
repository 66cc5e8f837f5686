"""Lies to watchers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb

from tests.lies.kinds import TIMES, TRANSACTIONS, elsewhere, kind
from tests.lies.proxy import Lie

if TYPE_CHECKING:
    from tests.lies.proxy import WatchState


class Watches(Lie):
    """Lies of one member's watches; ``bend`` gives what is told in place of a response with changes."""

    member = "m2"
    times = TIMES
    filtered = False
    """Whether it is the watch with a filter that is lied to."""

    def watched(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        asked = stream.request
        filtered = asked is not None and bool(asked.filters)
        if not response.events or stream.member != self.member or self.told >= self.times:
            return [response]
        if filtered != self.filtered:
            return [response]
        bent = self.bend(stream, response)
        self.told += bent is not None
        return [response] if bent is None else bent

    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        raise NotImplementedError


def copy(response: pb.WatchResponse) -> pb.WatchResponse:
    return pb.WatchResponse.FromString(response.SerializeToString())


@kind("watch", "reliable: .*never told of")
class EventIsDropped(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        return []


@kind("watch", "unique: |ordered: ")
class EventIsRepeated(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        return [response, response]


@kind("watch", "ordered: ")
class EventsAreReordered(Watches):
    def __init__(self) -> None:
        super().__init__()
        self.held: pb.WatchResponse | None = None

    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        if self.held is None:
            self.held = response
            self.told -= 1
            return []
        held, self.held = self.held, None
        return [response, held]


@kind("watch", "reliable: ")
class EventIsInvented(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        bent = copy(response)
        invented = bent.events.add()
        invented.CopyFrom(response.events[-1])
        invented.kv.key += b"x"
        invented.kv.value = b"999999999:"
        return [bent]


@kind("watch", "reliable: ")
class WatchedValueIsBent(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        if response.events[0].type != kv_pb2.Event.PUT:
            return None
        bent = copy(response)
        bent.events[0].kv.value = b"999999999:"
        return [bent]


@kind("watch", "atomic: ", TRANSACTIONS)
class RevisionIsSplit(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        for place in range(1, len(response.events)):
            if response.events[place - 1].kv.mod_revision == response.events[place].kv.mod_revision:
                first, second = copy(response), copy(response)
                del first.events[place:]
                del second.events[:place]
                return [first, second]
        return None


@kind("watch", "bookmarkable: ")
class BookmarkIsAhead(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        bookmark = pb.WatchResponse(header=response.header, watch_id=response.watch_id)
        bookmark.header.revision = response.events[-1].kv.mod_revision
        return [bookmark, response]


@kind("watch", "resumable: ")
class EventFromBeforeTheStart(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        old = copy(response)
        del old.events[1:]
        old.events[0].kv.mod_revision = stream.request.start_revision - 1
        return [old, response]


@kind("watch", "filter: ")
class EventOfAnotherKey(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        bent = copy(response)
        bent.events[0].kv.key = elsewhere(bent.events[0].kv.key)
        return [bent]


@kind("watch", "filter: ")
class FilteredEventIsDelivered(Watches):
    """The member is asked for everything, whatever was to be left out."""

    def asked(self, stream: WatchState, request: pb.WatchRequest) -> pb.WatchRequest:
        if not request.create_request.filters:
            return request
        self.told += 1
        bent = pb.WatchRequest.FromString(request.SerializeToString())
        del bent.create_request.filters[:]
        return bent

    def watched(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        return [response]


@kind("watch", "is-create: ")
class CreationIsDenied(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        bent = copy(response)
        for event in bent.events:
            if event.type == kv_pb2.Event.PUT and event.kv.version == 1:
                event.kv.version = 2
                return [bent]
        return None


@kind("watch", "prev-kv: ")
class PreviousKeyIsBent(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        bent = copy(response)
        for event in bent.events:
            if event.HasField("prev_kv"):
                event.prev_kv.value = b"999999999:"
                return [bent]
        return None


@kind("watch", "prev-kv: ")
class PreviousKeyIsWithheld(Watches):
    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse] | None:
        bent = copy(response)
        for event in bent.events:
            if event.HasField("prev_kv"):
                event.ClearField("prev_kv")
                return [bent]
        return None


@kind("watch", "compaction: .*nobody asked")
class CompactionIsClaimed(Watches):
    """The watch is cancelled because of a compaction that was never asked for."""

    times = 1

    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        revision = response.events[-1].kv.mod_revision + 1
        header = pb.WatchResponse(header=response.header, watch_id=response.watch_id)
        header.canceled, header.compact_revision = True, revision
        return [header]


@kind("watch", "reliable: .*never told of")
class OneMembersWatchersHearNothing(Watches):
    """Bookmarks in place of changes."""

    times = 40

    def bend(self, stream: WatchState, response: pb.WatchResponse) -> list[pb.WatchResponse]:
        return [pb.WatchResponse(header=response.header, watch_id=response.watch_id)]
