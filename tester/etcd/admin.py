"""Calls that change a cluster: its members, its leader, its alarms, its database, its version."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
from tester.etcd.client import EtcdClient, ListedMember, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

_VARINT, _LENGTH = 0, 2

# Fields newer than the stubs, by their number in etcd's rpc.proto.
_ADD_IS_LEARNER = 2
_PROMOTE_ID = 1
_DOWNGRADE_ACTION, _DOWNGRADE_VERSION = 1, 2


class AlarmKind(IntEnum):
    """Alarms by their number on the wire."""

    NOSPACE = 1
    CORRUPT = 2


class DowngradeAction(IntEnum):
    """What ``AdminClient.downgrade`` asks for, by its number on the wire."""

    VALIDATE = 0
    ENABLE = 1
    CANCEL = 2


class AdminClient(EtcdClient):
    """``EtcdClient`` with the calls that change the cluster itself. Nothing is retried here either.

    A change of the members that etcd refuses ends with its own words (``etcdserver: ...``); one that timed
    out may have happened: read ``member_list``.
    """

    async def member_add(self, peer_urls: Sequence[str], *, learner: bool = False) -> ListedMember:
        """Announce a member that is yet to be started; the answer has its id."""
        request = pb.MemberAddRequest(peerURLs=peer_urls)
        if learner:
            request.MergeFromString(_field(_ADD_IS_LEARNER, 1))
        response = await self._call(Method.MEMBER_ADD, request, pb.MemberAddResponse)
        return listed(response.member)

    async def member_remove(self, member_id: int) -> None:
        """Remove a member; its process ends itself when it learns of that."""
        await self._call(Method.MEMBER_REMOVE, pb.MemberRemoveRequest(ID=member_id), pb.MemberRemoveResponse)

    async def member_promote(self, member_id: int) -> None:
        """Make a learner a voter; etcd refuses one that is not in sync with the leader."""
        # The stubs have no such request: one with a single id has the same bytes.
        request = pb.MemberRemoveRequest.FromString(_field(_PROMOTE_ID, member_id))
        await self._call(Method.MEMBER_PROMOTE, request, pb.MemberListResponse)

    async def move_leader(self, target_id: int) -> None:
        """Hand leadership over. Only the leader itself takes this call."""
        await self._call(Method.MOVE_LEADER, pb.MoveLeaderRequest(targetID=target_id), pb.MoveLeaderResponse)

    async def defragment(self) -> None:
        """Rewrite this member's database; it serves nobody meanwhile."""
        await self._call(Method.DEFRAGMENT, pb.DefragmentRequest(), pb.DefragmentResponse)

    async def disarm(self, member_id: int, kind: AlarmKind) -> None:
        """Clear an alarm of a member."""
        request = pb.AlarmRequest(action=2, memberID=member_id, alarm=int(kind))  # 2: deactivate
        await self._call(Method.ALARM, request, pb.AlarmResponse)

    async def downgrade(self, action: DowngradeAction, version: str = "") -> None:
        """Prepare the cluster for members of an older version (``3.4``); etcd before 3.5 has no such call.

        ``VALIDATE`` asks whether that could be and changes nothing; ``CANCEL`` ends what ``ENABLE`` began.
        """
        # The stubs have no such request: built on an empty one. Of the answer only the header is known to them.
        request = pb.MemberListRequest()
        request.MergeFromString(
            _field(_DOWNGRADE_ACTION, int(action)) + _field(_DOWNGRADE_VERSION, version.encode())
        )
        await self._call(Method.DOWNGRADE, request, pb.DefragmentResponse)


def _field(number: int, value: int | bytes) -> bytes:
    """One protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
