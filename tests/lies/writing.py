"""Lies about writes and transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tests.lies.kinds import LEASES, TRANSACTIONS, Answers, Deeds, elsewhere, kind
from tests.lies.proxy import RefusedError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.lies.proxy import Forward


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


@kind("linearizable", "it answered .*sha256:", TRANSACTIONS)
class ValueIsCut(Answers):
    """Told often: a client that went by such a value would take it for the value to compare with."""

    method = Method.TXN
    times = 60

    def bend(self, request, answer) -> bool:
        cut = False
        for response in answer.responses:
            for kv in response.response_range.kvs:
                kv.value = kv.value[1:]
                cut = True
        return cut


@kind("linearizable", "but revision|lease", LEASES)
class PutLosesItsLease(Deeds):
    async def do(self, request, forward: Forward) -> Message | None:
        if not request.lease:
            return None
        request.lease = 0
        return await forward(Method.PUT, request)
