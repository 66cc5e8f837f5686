"""Kinds of lies: each with the checker that must catch it, and what that must say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tests.lies.proxy import Lie, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from tests.lies.proxy import Forward, WatchState

TIMES = 3
"""A kind is told so often at most: most of the history is right."""

BASIC = {"put": 0.45, "get": 0.25, "delete": 0.1, "range": 0.1, "txn-cas": 0.1}
SERIALIZABLE = {"put": 0.5, "get-serializable": 0.5}
TRANSACTIONS = {"put": 0.3, "txn-mixed": 0.6, "txn-cas": 0.1}
LEASES = "lease"


@dataclass(frozen=True)
class Kind:
    """One kind of lie."""

    make: Callable[[], Lie]
    checker: str
    says: str
    """What the checker's message must match."""
    load: dict[str, float] | str = field(default_factory=lambda: BASIC)
    """Weights of the load under which it is told, or the kind of another stresser."""


KINDS: dict[str, Kind] = {}


def kind(checker: str, says: str, load: dict[str, float] | str = BASIC) -> Callable[[type[Lie]], type[Lie]]:
    """Enter a class as a kind of lie."""

    def enter(lie: type[Lie]) -> type[Lie]:
        name = "".join(f" {c.lower()}" if c.isupper() else c for c in lie.__name__).strip()
        KINDS[name] = Kind(lie, checker, says, load)
        return lie

    return enter


class Answers(Lie):
    """Lies in answers: the member is asked honestly, then ``bend`` changes its answer."""

    method: str = Method.RANGE
    member: str | None = None
    """Who lies; ``None``: all do."""
    times = TIMES

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        answer = await forward(method, request)
        if method == self.method and self.told < self.times and self.member in {None, member}:
            self.told += self.bend(request, answer)
        return answer

    def bend(self, request, answer) -> bool:
        """Change ``answer``; whether it did."""
        raise NotImplementedError


class Deeds(Lie):
    """Lies in deeds: ``do`` asks the member something else than it was asked."""

    method: str = Method.PUT

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        if method != self.method or self.told >= TIMES:
            return await forward(method, request)
        self.told += 1
        done = await self.do(request, forward)
        if done is None:
            self.told -= 1
            return await forward(method, request)
        return done

    async def do(self, request, forward: Forward) -> Message | None:
        """The answer, or ``None`` to be honest this time."""
        raise NotImplementedError


def elsewhere(key: bytes) -> bytes:
    """A key outside of the load's prefix: it takes a revision, and nobody sees it."""
    return b"~elsewhere/" + key


# --- reads ----------------------------------------------------------------------------------------------------


class Rememberer(Lie):
    """Keeps the first answer to every read, and tells it again much later."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[bytes, pb.RangeResponse] = {}

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        answer = await forward(method, request)
        if method != Method.RANGE:
            return answer
        first = self.first.setdefault(request.SerializeToString(), answer)
        if self.told >= TIMES or answer.header.revision < first.header.revision + 40:
            return answer
        if first.kvs == answer.kvs:
            return answer
        self.told += 1
        return self.bent(first, answer)

    def bent(self, first: pb.RangeResponse, now: pb.RangeResponse) -> pb.RangeResponse:
        """What is told."""
        return first


@kind("linearizable", "of a later revision|had ended, which comes later")
class StaleRead(Rememberer):
    """An old answer, header and all."""


@kind("linearizable", "it answered .*, but|it answered .*; ")
class OldStateUnderANewRevision(Rememberer):
    """An old answer under the newest header."""

    def bent(self, first: pb.RangeResponse, now: pb.RangeResponse) -> pb.RangeResponse:
        bent = pb.RangeResponse.FromString(first.SerializeToString())
        bent.header.CopyFrom(now.header)
        return bent


@kind("linearizable", "it answered .*value|it answered sha256|it answered .* = ")
class ValueFromNowhere(Answers):
    def bend(self, request, answer) -> bool:
        for kv in answer.kvs[:1]:
            kv.value = b"999999999:"
        return bool(answer.kvs)


@kind("linearizable", "it answered no key|it answered .* keys and counted")
class KeyMissing(Answers):
    def bend(self, request, answer) -> bool:
        there = bool(answer.kvs)
        if there:
            del answer.kvs[0]
            answer.count -= 1
        return there


@kind("linearizable", r"it answered .*version \d+")
class WrongVersion(Answers):
    def bend(self, request, answer) -> bool:
        for kv in answer.kvs[:1]:
            kv.version += 1
        return bool(answer.kvs)


@kind("linearizable", r"it answered .*create \d+")
class WrongCreateRevision(Answers):
    def bend(self, request, answer) -> bool:
        for kv in answer.kvs[:1]:
            kv.create_revision -= 1
        return bool(answer.kvs)


@kind("linearizable", r"it answered .*mod \d+")
class WrongModRevision(Answers):
    def bend(self, request, answer) -> bool:
        for kv in answer.kvs[:1]:
            kv.mod_revision -= 1
        return bool(answer.kvs)


@kind("linearizable", "it answered .*lease 77")
class WrongLease(Answers):
    def bend(self, request, answer) -> bool:
        for kv in answer.kvs[:1]:
            kv.lease = 77
        return bool(answer.kvs)


@kind("linearizable", "it answered")
class KeyTwiceInARange(Answers):
    def bend(self, request, answer) -> bool:
        if len(answer.kvs) < 2:
            return False
        answer.kvs[0].CopyFrom(answer.kvs[1])
        return True


@kind("linearizable", "it answered")
class RangeOutOfOrder(Answers):
    def bend(self, request, answer) -> bool:
        if len(answer.kvs) < 2:
            return False
        kvs = list(answer.kvs)[::-1]
        del answer.kvs[:]
        answer.kvs.extend(kvs)
        return True


@kind("linearizable", r"counted \d+|it answered no key \(count 1\)")
class WrongCount(Answers):
    def bend(self, request, answer) -> bool:
        answer.count += 1
        return True


@kind("linearizable", "it answered")
class MoreThanThereIs(Answers):
    def bend(self, request, answer) -> bool:
        answer.more = True
        return True


@kind("linearizable", "of a later revision|had ended, which comes later")
class RevisionMovesBack(Answers):
    def bend(self, request, answer) -> bool:
        back = answer.header.revision > 60
        answer.header.revision -= 50 * back
        return back


@kind("linearizable", "of a later revision|had ended, which comes later|it answered")
class RevisionFromTheFuture(Answers):
    def bend(self, request, answer) -> bool:
        answer.header.revision += 1000
        return True


# --- writes ---------------------------------------------------------------------------------------------------


@kind("linearizable", r"ok at revision \d+.*; but revision \d+ changed nothing")
class AcknowledgedWriteIsLost(Deeds):
    async def do(self, request, forward: Forward) -> Message:
        request.key = elsewhere(request.key)
        return await forward(Method.PUT, request)


@kind("durability", "lost: .*put")
class LostWriteByTheEnd(AcknowledgedWriteIsLost):
    """The same, judged by what is there at the end and what watchers saw."""


@kind("linearizable", "it happened twice: put")
class WriteIsAppliedTwice(Deeds):
    async def do(self, request, forward: Forward) -> Message:
        first = await forward(Method.PUT, request)
        await forward(Method.PUT, request)
        return first


@kind("linearizable", r"but revision \d+ changed put .* = 999999999")
class AnotherValueIsWritten(Deeds):
    async def do(self, request, forward: Forward) -> Message:
        request.value = b"999999999:"
        return await forward(Method.PUT, request)


@kind("linearizable", r"but revision \d+ changed put")
class AnotherKeyIsWritten(Deeds):
    async def do(self, request, forward: Forward) -> Message:
        request.key += b"x"
        return await forward(Method.PUT, request)


@kind("linearizable", "said that it did not")
class RefusedWriteIsApplied(Deeds):
    async def do(self, request, forward: Forward) -> Message:
        await forward(Method.PUT, request)
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")


@kind("linearizable", "nobody asked for what revision")
class ChangeThatNobodyAskedFor(Deeds):
    async def do(self, request, forward: Forward) -> Message:
        invented = pb.PutRequest(key=request.key, value=b"999999998:")
        await forward(Method.PUT, invented)
        return await forward(Method.PUT, request)


@kind(
    "linearizable",
    "more than one write has the revision|but revision|had ended, which comes later|nobody asked",
)
class OldRevisionForAWrite(Answers):
    method = Method.PUT

    def bend(self, request, answer) -> bool:
        answer.header.revision -= 1
        return True


@kind("linearizable", "nobody asked|of a later revision|had ended, which comes later|but revision")
class FutureRevisionForAWrite(Answers):
    method = Method.PUT

    def bend(self, request, answer) -> bool:
        answer.header.revision += 1000
        return True


@kind("linearizable", "at its place .* were deleted|nobody asked for what revision .* delete")
class DeletionIsDenied(Answers):
    method = Method.DELETE_RANGE

    def bend(self, request, answer) -> bool:
        there = answer.deleted > 0
        answer.deleted = 0
        return there


@kind("linearizable", "at its place|but revision|more than one write")
class DeletionIsPretended(Deeds):
    method = Method.DELETE_RANGE

    async def do(self, request, forward: Forward) -> Message | None:
        there = await forward(Method.RANGE, pb.RangeRequest(key=request.key, range_end=request.range_end))
        if not there.count:
            return None
        return pb.DeleteRangeResponse(header=there.header, deleted=there.count)


@kind("linearizable", "nobody asked for what revision .* put")
class DeletedKeyComesBack(Deeds):
    method = Method.DELETE_RANGE

    async def do(self, request, forward: Forward) -> Message | None:
        there = await forward(Method.RANGE, pb.RangeRequest(key=request.key))
        answer = await forward(Method.DELETE_RANGE, request)
        if not there.kvs or not answer.deleted:
            self.told -= 1
            return answer
        await forward(Method.PUT, pb.PutRequest(key=request.key, value=there.kvs[0].value))
        return answer


# --- transactions ---------------------------------------------------------------------------------------------


@kind("linearizable", "took then, but at its place does not hold", {"put": 0.5, "txn-cas": 0.5})
class ConditionIsIgnored(Deeds):
    method = Method.TXN

    async def do(self, request, forward: Forward) -> Message | None:
        honest = pb.TxnRequest(compare=request.compare)
        if (await forward(Method.TXN, honest)).succeeded:
            return None
        del request.compare[:]
        return await forward(Method.TXN, request)


@kind("linearizable", "took else, but at its place all its conditions hold", {"put": 0.5, "txn-cas": 0.5})
class ConditionNeverHolds(Deeds):
    method = Method.TXN

    async def do(self, request, forward: Forward) -> Message | None:
        honest = pb.TxnRequest(compare=request.compare)
        if not (await forward(Method.TXN, honest)).succeeded:
            return None
        del request.compare[:]
        request.compare.add(key=b"~none", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0)
        return await forward(Method.TXN, request)


@kind("linearizable", "but revision|nobody asked", TRANSACTIONS)
class TransactionIsTorn(Deeds):
    """Its changes come in two revisions."""

    method = Method.TXN

    async def do(self, request, forward: Forward) -> Message | None:
        puts = [op for op in request.success if op.HasField("request_put")]
        if len(puts) < 2 or request.compare or len(puts) != len(request.success):
            answer = await forward(Method.TXN, request)
            written = request.success if answer.succeeded else request.failure
            later = [op for op in written if op.HasField("request_put")][:1]
            if not later:
                self.told -= 1
                return answer
            await forward(Method.PUT, later[0].request_put)
            return answer
        answer = None
        for op in puts:
            answer = await forward(Method.PUT, op.request_put)
        return pb.TxnResponse(header=answer.header, succeeded=True, responses=[])


@kind("linearizable", "it answered", TRANSACTIONS)
class BentReadInATransaction(Answers):
    method = Method.TXN

    def bend(self, request, answer) -> bool:
        for response in answer.responses:
            for kv in response.response_range.kvs[:1]:
                kv.value = b"999999999:"
                return True
        return False


@kind("linearizable", "but revision|lease", LEASES)
class PutLosesItsLease(Deeds):
    async def do(self, request, forward: Forward) -> Message | None:
        if not request.lease:
            return None
        request.lease = 0
        return await forward(Method.PUT, request)


# --- a member's own state -------------------------------------------------------------------------------------


@kind("serializable", "it answered", SERIALIZABLE)
class BentSerializableRead(Answers):
    def bend(self, request, answer) -> bool:
        bent = request.serializable and bool(answer.kvs)
        if bent:
            answer.kvs[0].value = b"999999999:"
        return bent


@kind("serializable", "the same member had shown a later state before", SERIALIZABLE)
class MemberForgets(Rememberer):
    pass


@kind(
    "serializable",
    "shows what was only asked for later|had shown a later state before|it answered",
    SERIALIZABLE,
)
class SerializableReadFromTheFuture(Answers):
    def bend(self, request, answer) -> bool:
        if request.serializable:
            answer.header.revision += 25
        return bool(request.serializable)


@kind("kv-hash", "differ")
class OneMemberHashesSomethingElse(Answers):
    method, member = Method.HASH_KV, "m2"

    def bend(self, request, answer) -> bool:
        answer.hash ^= 1
        return True


@kind("kv-hash", "differ")
class OneMemberIsBehindAtRest(Answers):
    method, member = Method.STATUS, "m3"
    times = 100  # it is asked again where members differ

    def bend(self, request, answer) -> bool:
        answer.header.revision -= 1
        return True


@kind("kv-hash", "at revision .* has|differ")
class OneMemberHasOtherContent(Answers):
    """Pages of its content, as the end state asks for them."""

    member = "m1"

    def bend(self, request, answer) -> bool:
        bent = bool(request.range_end) and bool(request.revision) and bool(answer.kvs)
        if bent:
            answer.kvs[0].value = b"999999999:"
        return bent


# --- watches --------------------------------------------------------------------------------------------------


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
