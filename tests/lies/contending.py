"""Lies to contenders: two hold a lock at a time, a fence lets everybody pass, observers are shown another leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tests.lies.kinds import ELECTION, LOCK, TIMES, Answers, Deeds, kind
from tests.lies.proxy import Lie
from tests.lies.reading import Rememberer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.lies.proxy import Forward

_QUEUE = b"queue/"
"""How the keys of those who contend begin, after the prefix of the load."""


class GrantedTwice(Lie):
    """Whoever has just come and has to wait is shown itself alone: it believes that it is its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.newcomer: dict[str, bytes] = {}
        """By member: the key of whoever came last, until somebody looks."""

    async def call(self, member: str, method: str, request, forward: Forward) -> Message:
        answer = await forward(method, request)
        if method == Method.TXN and answer.succeeded and (key := _place_taken(request)):
            self.newcomer[member] = key
        elif _is_look(method, request) and (key := self.newcomer.pop(member, None)) and self.told < TIMES:
            alone = [kv for kv in answer.kvs if kv.key == key]
            if alone and _first(answer).key != key:
                del answer.kvs[:]
                answer.kvs.extend(alone)
                answer.count = 1
                self.told += 1
        return answer


@kind("locks", r"held lock .*, but at that revision \S+ \(created at \d+\) was first", LOCK)
class LockIsGrantedTwice(GrantedTwice):
    pass


@kind("locks", r"changed the guarded key .*, while \S+ \(created at \d+\)(?: of client \d+)? was first", LOCK)
class TwoWriteWhatALockGuards(GrantedTwice):
    """The same, judged by what was written: the place of a contender is there, and so its fence lets it pass."""


@kind("elections", r"held election .*, but at that revision \S+ \(created at \d+\) was first", ELECTION)
class TwoAreElected(GrantedTwice):
    pass


class Unfenced(Deeds):
    """The holder's place is taken away, and what it writes then is done for all that."""

    method = Method.TXN

    async def do(self, request, forward: Forward) -> Message | None:
        if not _is_guarded_write(request):
            return None
        await forward(Method.DELETE_RANGE, pb.DeleteRangeRequest(key=request.compare[0].key))
        del request.compare[:]
        return await forward(Method.TXN, request)


@kind("locks", "changed the guarded key .*, while .* was first", LOCK)
class FenceOfALockIsOpen(Unfenced):
    pass


@kind("elections", "changed the guarded key .*, while .* was first", ELECTION)
class FenceOfALeaderIsOpen(Unfenced):
    pass


@kind("linearizable", "took then, but at its place does not hold|more than one write has the revision", LOCK)
class FencedWriteIsPretended(Deeds):
    """The place of the holder is taken away, and its write is not done, but acknowledged."""

    method = Method.TXN

    async def do(self, request, forward: Forward) -> Message | None:
        if not _is_guarded_write(request):
            return None
        await forward(Method.DELETE_RANGE, pb.DeleteRangeRequest(key=request.compare[0].key))
        refused = await forward(Method.TXN, request)
        return pb.TxnResponse(
            header=refused.header,
            succeeded=True,
            responses=[pb.ResponseOp(response_put=pb.PutResponse(header=refused.header))],
        )


@kind("elections", r"after it had been shown .* as of revision \d+", ELECTION)
class OldLeaderIsShown(Rememberer):
    """An old answer, header and all."""


@kind("elections", r"was shown election .*, but at that revision .* was first", ELECTION)
class OldLeaderUnderANewRevision(Rememberer):
    """An old answer under the newest header."""

    def bent(self, first: pb.RangeResponse, now: pb.RangeResponse) -> pb.RangeResponse:
        bent = pb.RangeResponse.FromString(first.SerializeToString())
        bent.header.CopyFrom(now.header)
        return bent


@kind("elections", r"was shown election .* with value \S+, but its value was", ELECTION)
class ProclamationIsBent(Answers):
    def bend(self, request, answer) -> bool:
        there = _is_look(Method.RANGE, request) and bool(answer.kvs)
        if there:
            _first(answer).value = b"999999999:"
        return there


def _is_look(method: str, request) -> bool:
    """Whether somebody asks who contends."""
    return method == Method.RANGE and bool(request.range_end) and request.key.endswith(_QUEUE)


def _first(answer):
    """Who came first of those who contend."""
    return min(answer.kvs, key=lambda kv: kv.create_revision)


def _place_taken(request: pb.TxnRequest) -> bytes:
    """The key by which somebody takes a place; empty: it is another transaction."""
    compares, written = list(request.compare), list(request.success)
    if len(compares) != 1 or compares[0].create_revision or len(written) != 1:
        return b""
    key = written[0].request_put.key
    return key if _QUEUE in key else b""


def _is_guarded_write(request: pb.TxnRequest) -> bool:
    """Whether somebody writes what only the holder may write."""
    return any(op.request_put.key.endswith(b"/guard") for op in request.success)
