"""Users and roles of a new cluster: ``root``, and one user for the load that reaches its keys and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcd3.etcdrpc import auth_pb2
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Channel, Method
from tester.etcd.client import prefix_end

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tester.etcd.credentials import Login

ROOT = "root"
"""The user that etcd asks for before it enables authentication."""
_ROLE = "etcd-chaos-load"
_SECONDS = 10.0


async def enable_auth(channel: Channel, root: Login, load: Login, prefix: str) -> None:
    """Make both users, let ``load`` read and write under ``prefix``, and enable authentication.

    Raises:
        RpcError: a step was refused; those before it are done.
    """
    permission = auth_pb2.Permission(
        permType=auth_pb2.Permission.READWRITE, key=prefix.encode(), range_end=prefix_end(prefix)
    )
    steps: tuple[tuple[Method, Message], ...] = (
        (Method.USER_ADD, pb.AuthUserAddRequest(name=root.user, password=root.password)),
        (Method.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user=root.user, role=ROOT)),
        (Method.ROLE_ADD, pb.AuthRoleAddRequest(name=_ROLE)),
        (Method.ROLE_GRANT_PERMISSION, pb.AuthRoleGrantPermissionRequest(name=_ROLE, perm=permission)),
        (Method.USER_ADD, pb.AuthUserAddRequest(name=load.user, password=load.password)),
        (Method.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user=load.user, role=_ROLE)),
        (Method.AUTH_ENABLE, pb.AuthEnableRequest()),
    )
    await channel.call(Method.ROLE_ADD, pb.AuthRoleAddRequest(name=ROOT).SerializeToString(), _SECONDS)
    for method, request in steps:
        await channel.call(method, request.SerializeToString(), _SECONDS)
