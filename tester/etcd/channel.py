"""The seam below everything that talks to a member: serialized protobuf in, serialized protobuf out."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, TypeAlias

from tester.etcd.endpoint import Endpoint


class Method(StrEnum):
    """Unary methods of etcd's API, by their path on the wire."""

    PUT = "/etcdserverpb.KV/Put"
    RANGE = "/etcdserverpb.KV/Range"
    DELETE_RANGE = "/etcdserverpb.KV/DeleteRange"
    TXN = "/etcdserverpb.KV/Txn"
    COMPACT = "/etcdserverpb.KV/Compact"
    LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
    LEASE_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
    LEASE_TTL = "/etcdserverpb.Lease/LeaseTimeToLive"
    STATUS = "/etcdserverpb.Maintenance/Status"
    HASH_KV = "/etcdserverpb.Maintenance/HashKV"
    ALARM = "/etcdserverpb.Maintenance/Alarm"
    DEFRAGMENT = "/etcdserverpb.Maintenance/Defragment"
    MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader"
    DOWNGRADE = "/etcdserverpb.Maintenance/Downgrade"
    MEMBER_LIST = "/etcdserverpb.Cluster/MemberList"
    MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd"
    MEMBER_REMOVE = "/etcdserverpb.Cluster/MemberRemove"
    MEMBER_PROMOTE = "/etcdserverpb.Cluster/MemberPromote"
    AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"
    AUTH_ENABLE = "/etcdserverpb.Auth/AuthEnable"
    USER_ADD = "/etcdserverpb.Auth/UserAdd"
    USER_GRANT_ROLE = "/etcdserverpb.Auth/UserGrantRole"
    ROLE_ADD = "/etcdserverpb.Auth/RoleAdd"
    ROLE_GRANT_PERMISSION = "/etcdserverpb.Auth/RoleGrantPermission"


class Channel(Protocol):
    """One connection to one member, re-established when it is lost, shared by any number of callers.

    An implementation must not repeat a request, send it to another member, or wait longer than its deadline.
    It must not hand a request to the kernel before callbacks already scheduled on the event loop have run:
    the history writer flushes the invocations of a turn of the loop in such a callback. An implementation
    that batches the requests of a turn takes ``HistoryWriter.flush`` as a hook and calls it before it sends.
    """

    async def call(self, method: Method, request: bytes, timeout_seconds: float) -> bytes:
        """One unary call.

        Raises:
            RpcError: the member, the connection or the deadline answered instead.
        """
        ...

    async def close(self) -> None:
        """Close the connection; calls in flight end with ``CANCELLED``."""
        ...


Connect: TypeAlias = Callable[[Endpoint], Channel]
"""Makes the channel to a member; connecting itself happens in the background."""
