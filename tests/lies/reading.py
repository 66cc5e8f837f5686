"""Lies in answers to reads, and in what members say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tests.lies.kinds import SERIALIZABLE, TIMES, Answers, kind
from tests.lies.proxy import Lie

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.lies.proxy import Forward


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


@kind("linearizable", "it answered|its keys are out of order")
class KeyTwiceInARange(Answers):
    def bend(self, request, answer) -> bool:
        if len(answer.kvs) < 2:
            return False
        answer.kvs[0].CopyFrom(answer.kvs[1])
        return True


@kind("linearizable", "it answered|its keys are out of order")
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
    times = 1_000_000  # the tester asks all the while, and again where members differ

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
