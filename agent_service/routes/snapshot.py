"""Snapshots, and members that are made of one."""

from fastapi import FastAPI, Header, Request
from starlette.requests import ClientDisconnect

from agent_service.errors import UnavailableError
from agent_service.gate import STREAMED
from agent_service.member import MemberControl
from agent_service.models import MemberStatus, RestoredData, RestoreRequest, Sha256, StoredSnapshot
from agent_service.problems import documented


def add_snapshot_routes(app: FastAPI, member: MemberControl) -> None:
    """Routes of a disaster: bring a snapshot, restore the member from it, keep what was restored."""

    @app.put(
        STREAMED + "{sha256}",
        tags=["member"],
        operation_id="putSnapshot",
        responses=documented(422, body=True),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def put_snapshot(
        sha256: Sha256, request: Request, content_length: int = Header(ge=1, include_in_schema=False)
    ) -> StoredSnapshot:
        """Take a snapshot in, in place of the last one. Its SHA-256 is part of the path."""
        try:
            return await member.store_snapshot(sha256, content_length, request.stream())
        except ClientDisconnect as error:
            raise UnavailableError("the connection ended within the snapshot") from error

    @app.post(
        "/v1/member/restore",
        tags=["member"],
        operation_id="restoreMember",
        responses=documented(404, 409, 424, body=True),
    )
    async def restore(request: RestoreRequest) -> RestoredData:
        """Make the data of a member that has none out of the snapshot, as one of a new cluster; starts nothing.

        Until they are kept, they give way to data that a fault has set aside, when that is healed.
        """
        return await member.restore(request)

    @app.post(
        "/v1/member/restore/keep",
        tags=["member"],
        operation_id="keepRestored",
        responses=documented(409),
    )
    async def keep() -> MemberStatus:
        """The restored data stay from now on; nothing where none are provisional."""
        return await member.keep_restored()
