"""Maintenance and single calls to one member, answered with plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from etcd3.etcdrpc import rpc_pb2 as pb
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tester.etcd import codec
from tester.etcd.channel import Channel, Method
from tester.etcd.errors import RpcError, StatusCode

if TYPE_CHECKING:
    from tester.etcd.endpoint import Endpoint
    from tester.history.records import KeyValue

_Response = TypeVar("_Response", bound=Message)

_PAGE_KEYS = 1000

# Fields newer than the stubs, by their number in etcd's rpc.proto.
_STATUS_APPLIED_INDEX = 7
_STATUS_ERRORS = 8
_STATUS_IS_LEARNER = 10
_MEMBER_IS_LEARNER = 5
_HASH_REVISION = 4

_ALARMS = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}


@dataclass(frozen=True, slots=True)
class MemberHealth:
    """A member about itself. ``leader_id`` is 0 while it knows none."""

    member_id: int
    leader_id: int
    term: int
    revision: int
    raft_index: int
    """Of the newest entry that it knows to be committed."""
    applied_index: int
    """Of the newest entry that it has applied; 0: not told."""
    version: str
    db_size_bytes: int
    is_learner: bool
    errors: tuple[str, ...]
    """What the member complains about: no leader, alarms."""


@dataclass(frozen=True, slots=True)
class KvHash:
    """Hash over every key up to ``revision`` and down to ``compact_revision``."""

    hash: int
    revision: int
    compact_revision: int


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A member as the cluster's own list has it. ``name`` is empty until it has started once."""

    member_id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class Alarm:
    """An active alarm: ``NOSPACE`` or ``CORRUPT``."""

    member_id: int
    kind: str


class EtcdClient:
    """Calls to one member. Every method raises ``RpcError``; nothing is retried."""

    def __init__(self, endpoint: Endpoint, channel: Channel, timeout_seconds: float = 5.0) -> None:
        self.endpoint = endpoint
        self._channel = channel
        self._timeout = timeout_seconds

    async def status(self) -> MemberHealth:
        """The member's own view. Answered without a quorum."""
        response = await self._call(Method.STATUS, pb.StatusRequest(), pb.StatusResponse)
        return MemberHealth(
            member_id=response.header.member_id,
            leader_id=response.leader,
            term=response.raftTerm,
            revision=response.header.revision,
            raft_index=response.raftIndex,
            applied_index=_unknown_int(response, _STATUS_APPLIED_INDEX),
            version=response.version,
            db_size_bytes=response.dbSize,
            is_learner=_unknown_int(response, _STATUS_IS_LEARNER) != 0,
            errors=_unknown_texts(response, _STATUS_ERRORS),
        )

    async def hash_kv(self, revision: int) -> KvHash:
        """Hash of the member's key space at ``revision`` (0: wherever the member is now)."""
        response = await self._call(Method.HASH_KV, pb.HashKVRequest(revision=revision), pb.HashKVResponse)
        said = _unknown_int(response, _HASH_REVISION)
        return KvHash(response.hash, said or revision or response.header.revision, response.compact_revision)

    async def range_all(
        self, prefix: str, revision: int = 0, *, serializable: bool = False
    ) -> tuple[int, tuple[KeyValue, ...]]:
        """Every key that starts with ``prefix``, read in pages at one revision.

        Args:
            prefix: not empty.
            revision: to read at; 0: the newest when the first page is read.
            serializable: the member answers from its own state without asking a quorum.

        Returns:
            The revision that was read, and the keys in order.
        """
        end = prefix_end(prefix)
        start = prefix.encode()
        found: list[KeyValue] = []
        while True:
            page = await self._call(
                Method.RANGE,
                pb.RangeRequest(
                    key=start, range_end=end, revision=revision, limit=_PAGE_KEYS, serializable=serializable
                ),
                pb.RangeResponse,
            )
            revision = revision or page.header.revision
            found.extend(map(codec.key_value, page.kvs))
            if not page.more or not page.kvs:
                return revision, tuple(found)
            start = page.kvs[-1].key + b"\0"

    async def get(self, key: str) -> tuple[int, KeyValue | None]:
        """A linearizable read: the answer's revision, and the key if there is one."""
        response = await self._call(Method.RANGE, pb.RangeRequest(key=key.encode()), pb.RangeResponse)
        return response.header.revision, codec.key_value(response.kvs[0]) if response.kvs else None

    async def own_revision(self, key: str) -> int:
        """Where the member itself is, whatever the others have: answered without a quorum, for who may read ``key``."""
        request = pb.RangeRequest(key=key.encode(), serializable=True)
        return int((await self._call(Method.RANGE, request, pb.RangeResponse)).header.revision)

    async def put(self, key: str, value: bytes) -> int:
        """Write a key; the revision of the write."""
        request = pb.PutRequest(key=key.encode(), value=value)
        response = await self._call(Method.PUT, request, pb.PutResponse)
        return int(response.header.revision)

    async def delete(self, key: str) -> tuple[int, int]:
        """Delete a key; the answer's revision, and how many keys there were (0 or 1)."""
        request = pb.DeleteRangeRequest(key=key.encode())
        response = await self._call(Method.DELETE_RANGE, request, pb.DeleteRangeResponse)
        return response.header.revision, response.deleted

    async def compact(self, revision: int, *, physical: bool = False) -> None:
        """Forget what is older than ``revision``; ``physical`` waits until it is gone from the database."""
        request = pb.CompactionRequest(revision=revision, physical=physical)
        await self._call(Method.COMPACT, request, pb.CompactionResponse)

    async def member_list(self) -> tuple[ListedMember, ...]:
        """The members of the cluster."""
        response = await self._call(Method.MEMBER_LIST, pb.MemberListRequest(), pb.MemberListResponse)
        return tuple(map(listed, response.members))

    async def alarms(self) -> tuple[Alarm, ...]:
        """Active alarms of all members."""
        response = await self._call(Method.ALARM, pb.AlarmRequest(action=0), pb.AlarmResponse)
        return tuple(
            Alarm(alarm.memberID, _ALARMS.get(alarm.alarm, str(alarm.alarm))) for alarm in response.alarms
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _call(self, method: Method, request: Message, response: type[_Response]) -> _Response:
        data = await self._channel.call(method, request.SerializeToString(), self._timeout)
        try:
            return response.FromString(data)
        except DecodeError as error:
            raise RpcError(
                StatusCode.INTERNAL, f"{self.endpoint.member} sent no {response.__name__}"
            ) from error


def listed(member: pb.Member) -> ListedMember:
    """A member of the cluster's list as a plain value."""
    return ListedMember(
        member_id=member.ID,
        name=member.name,
        peer_urls=tuple(member.peerURLs),
        client_urls=tuple(member.clientURLs),
        is_learner=_unknown_int(member, _MEMBER_IS_LEARNER) != 0,
    )


def prefix_end(prefix: str) -> bytes:
    """The end of the range of all keys that start with ``prefix`` (ASCII)."""
    return prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])


def _unknown(message: Message, number: int) -> list[int | bytes]:
    fields = UnknownFieldSet(message)
    return [fields[i].data for i in range(len(fields)) if fields[i].field_number == number]


def _unknown_int(message: Message, number: int) -> int:
    return next((data for data in _unknown(message, number) if isinstance(data, int)), 0)


def _unknown_texts(message: Message, number: int) -> tuple[str, ...]:
    return tuple(
        data.decode("utf-8", "replace") for data in _unknown(message, number) if isinstance(data, bytes)
    )
