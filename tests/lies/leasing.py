"""Lies about leases: those that live end, those that are dead are kept, and what is said of their time is bent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tests.lies.kinds import BRIEF_LEASES, LEASES, SLOW_LEASES, TIMES, Answers, Deeds, kind
from tests.lies.proxy import KEEPALIVE, Lie, RefusedError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.lies.proxy import Forward


class Kept(Lie):
    """Leases are ended in secret when they are asked about, and live on in answers to the same question.

    All other questions about them are left without an answer: the truth would end it.
    """

    method: str = KEEPALIVE

    def __init__(self) -> None:
        super().__init__()
        self.dead: dict[int, pb.LeaseTimeToLiveResponse] = {}
        """What each was like when it was ended."""

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        lease = _lease_in(method, request)
        if lease in self.dead:
            if method != self.method:
                raise RefusedError(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
            self.told += 1
            return await self.kept(request, self.dead[lease], forward)
        answer = await forward(method, request)
        if lease and method == self.method and len(self.dead) < TIMES:
            left = await forward(Method.LEASE_TTL, pb.LeaseTimeToLiveRequest(ID=lease))
            if left.TTL > 0:
                await forward(Method.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease))
                self.dead[lease] = left
        return answer

    async def kept(self, request, left: pb.LeaseTimeToLiveResponse, forward: Forward) -> Message:
        """What is answered when the lease is dead; ``left``: what it had."""
        raise NotImplementedError


def _lease_in(method: str, request) -> int:
    """The lease that a call is about; 0: none."""
    if method in {KEEPALIVE, Method.LEASE_TTL, Method.LEASE_REVOKE}:
        return request.ID
    return request.lease if method == Method.PUT else 0


@kind("leases", "was renewed after its end", LEASES)
class DeadLeaseIsRenewed(Kept):
    async def kept(self, request, left: pb.LeaseTimeToLiveResponse, forward: Forward) -> Message:
        return pb.LeaseKeepAliveResponse(header=left.header, ID=request.ID, TTL=left.grantedTTL)


@kind("leases", "was given a key after its end", LEASES)
class DeadLeaseIsGivenAKey(Kept):
    method = Method.PUT

    async def kept(self, request, left: pb.LeaseTimeToLiveResponse, forward: Forward) -> Message:
        request.lease = 0
        return await forward(Method.PUT, request)


@kind("leases", r"ended at least .* too early: .*its \d+ keys were deleted at revision", LEASES)
class LivingLeaseIsEnded(Deeds):
    async def do(self, request, forward: Forward) -> Message | None:
        if not request.lease:
            return None
        answer = await forward(Method.PUT, request)
        await forward(Method.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=request.lease))
        return answer


@kind("leases", "ended at least .* too early", SLOW_LEASES)
class RenewedInWordsOnly(Lie):
    """Renewals are answered and not done, until the lease has ended for want of them."""

    async def call(self, member: str, method: str, request, forward: Forward) -> Message:
        if method != KEEPALIVE:
            return await forward(method, request)
        left = await forward(Method.LEASE_TTL, pb.LeaseTimeToLiveRequest(ID=request.ID))
        lives = left.TTL >= 0
        self.told += not lives
        return pb.LeaseKeepAliveResponse(header=left.header, ID=request.ID, TTL=left.grantedTTL * lives)


class RevokedInWordsOnly(Deeds):
    """The lease and its keys stay."""

    method = Method.LEASE_REVOKE

    async def do(self, request, forward: Forward) -> Message:
        now = await forward(Method.RANGE, pb.RangeRequest(key=b"~none"))
        return pb.LeaseRevokeResponse(header=now.header)


@kind("leases", "(had|has) a key after its end", BRIEF_LEASES)
class RevokedLeaseIsKept(RevokedInWordsOnly):
    pass


@kind("linearizable", r"at its place \d+ keys were attached, 0 were deleted", BRIEF_LEASES)
class RevocationDeletesNothing(RevokedInWordsOnly):
    """The same, judged by the order of all operations."""


@kind("leases", "ended at least .* too early: .*there is no such lease", LEASES)
class RenewalOfTheLivingIsDenied(Answers):
    method = KEEPALIVE

    def bend(self, request, answer) -> bool:
        there = answer.TTL > 0
        answer.TTL = 0
        return there


@kind("leases", "ended at least .* too early: .*there is no such lease", LEASES)
class LivingLeaseIsDenied(Answers):
    method = Method.LEASE_TTL

    def bend(self, request, answer) -> bool:
        there = answer.TTL > 1
        answer.TTL, answer.grantedTTL = -1, 0
        return there


@kind("leases", "ended at least .* too early: .*requested lease not found", LEASES)
class LivingLeaseIsRefused(Deeds):
    async def do(self, request, forward: Forward) -> Message | None:
        if not request.lease:
            return None
        raise RefusedError(grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


class MoreIsTold(Answers):
    """A number in the answer about a lease that is there is larger than it is."""

    method: str = Method.LEASE_TTL
    number = "TTL"
    more = 5
    least = 0
    """The TTL from which on a lease is there."""

    def bend(self, request, answer) -> bool:
        there = self.least <= answer.TTL
        setattr(answer, self.number, getattr(answer, self.number) + self.more * there)
        return there


@kind("leases", "was renewed for another time than granted", LEASES)
class RenewedForAnotherTime(MoreIsTold):
    method = KEEPALIVE
    least = 1


@kind("leases", r"is said to have been granted for \d+ s", LEASES)
class GrantIsForgotten(MoreIsTold):
    number = "grantedTTL"


@kind("leases", "has more time left than it was granted", LEASES)
class TooMuchTimeIsLeft(MoreIsTold):
    more = 1000


@kind("leases", "has less time left than its last renewal promised", LEASES)
class TooLittleTimeIsLeft(Answers):
    method = Method.LEASE_TTL

    def bend(self, request, answer) -> bool:
        there = answer.TTL > 30
        answer.TTL //= 3 if there else 1
        return there
