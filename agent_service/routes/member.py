"""The one member of this host."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import StreamingResponse

from agent_service.errors import IllegalStateError, NotFoundError
from agent_service.member import MemberControl
from agent_service.models import (
    ArchiveRequest,
    ArchiveResult,
    Failpoints,
    LogTail,
    MemberSpec,
    MemberStatus,
    MemberTls,
    StopRequest,
)
from agent_service.problems import documented

_CHUNK_BYTES = 64 * 1024

Lines = Annotated[int, Query(ge=1, le=1000, description="At most this many lines.")]
Offset = Annotated[int, Query(ge=0, lt=2**53, description="First byte wanted.")]


def add_member_routes(app: FastAPI, member: MemberControl) -> None:
    """Routes that look at and drive the member. What its state forbids is a 409 that names the state."""
    _add_reading(app, member)
    _add_driving(app, member)
    _add_secrets(app, member)


def _add_reading(app: FastAPI, member: MemberControl) -> None:
    @app.get("/v1/member", tags=["member"], operation_id="getMember", responses=documented())
    async def get_member() -> MemberStatus:
        """State, spec, process id and exit history (newest last)."""
        return member.status()

    @app.get("/v1/member/log", tags=["member"], operation_id="getMemberLog", responses=documented(404))
    async def get_log(lines: Lines = 100) -> LogTail:
        """The last lines of the member's log, and its size in bytes."""
        return await asyncio.to_thread(member.log_tail, lines)

    @app.get(
        "/v1/member/failpoints",
        tags=["member"],
        operation_id="getMemberFailpoints",
        responses=documented(409),
    )
    async def get_failpoints() -> Failpoints:
        """Failpoints of a running member that was built with gofail, and what they are set to."""
        return await member.failpoints()

    @app.get(
        "/v1/member/log/download",
        tags=["member"],
        operation_id="downloadMemberLog",
        response_class=StreamingResponse,
        responses={200: {"description": "The log.", "content": {"text/plain": {}}}, **documented(404, 409)},
    )
    async def download_log(offset: Offset = 0) -> StreamingResponse:
        """The member's log from this byte on, as far as it was written when the request came."""
        try:
            descriptor = os.open(member.log_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError("the member has no log yet", remedy="start it first") from None
        size = os.fstat(descriptor).st_size
        if offset > size:
            os.close(descriptor)
            raise IllegalStateError(
                f"the log ends at byte {size}: it is another one, or was cut off",
                state=member.status().state,
                remedy="read it from its beginning",
            )
        return StreamingResponse(
            _read(descriptor, offset, size),
            media_type="text/plain",
            headers={"content-length": str(size - offset)},
        )


async def _read(descriptor: int, offset: int, size: int) -> AsyncIterator[bytes]:
    """Exactly from ``offset`` to ``size``: the log grows while it is read, and the length has been announced."""
    try:
        while offset < size:
            chunk = await asyncio.to_thread(os.pread, descriptor, min(_CHUNK_BYTES, size - offset), offset)
            if not chunk:
                raise OSError("the log was cut off while it was read")
            offset += len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def _add_driving(app: FastAPI, member: MemberControl) -> None:
    @app.post(
        "/v1/member/start",
        tags=["member"],
        operation_id="startMember",
        responses=documented(404, 409, body=True),
    )
    async def start(spec: MemberSpec) -> MemberStatus:
        """Start the member; the same spec again changes nothing while it runs."""
        return await member.start(spec)

    @app.post(
        "/v1/member/stop", tags=["member"], operation_id="stopMember", responses=documented(409, body=True)
    )
    async def stop(request: StopRequest) -> MemberStatus:
        """SIGTERM, then SIGKILL after ``grace_seconds``."""
        return await member.stop(request.grace_seconds, "stop")

    @app.post("/v1/member/kill", tags=["member"], operation_id="killMember", responses=documented(409))
    async def kill() -> MemberStatus:
        """SIGKILL."""
        return await member.kill("kill")

    @app.post("/v1/member/pause", tags=["member"], operation_id="pauseMember", responses=documented(409))
    async def pause() -> MemberStatus:
        """SIGSTOP."""
        return await member.pause()

    @app.post("/v1/member/resume", tags=["member"], operation_id="resumeMember", responses=documented(409))
    async def resume() -> MemberStatus:
        """SIGCONT."""
        return await member.resume()

    @app.post(
        "/v1/member/restart",
        tags=["member"],
        operation_id="restartMember",
        responses=documented(409, body=True),
    )
    async def restart(request: StopRequest) -> MemberStatus:
        """Stop (SIGKILL after ``grace_seconds``) and start with the same spec."""
        return await member.restart(request.grace_seconds, "restart")

    @app.post("/v1/member/quit", tags=["member"], operation_id="quitMember", responses=documented(409))
    async def quit_with_trace() -> MemberStatus:
        """SIGQUIT: the member ends with a stack trace of every goroutine in its log."""
        return await member.quit("quit")

    @app.post(
        "/v1/member/terminate", tags=["member"], operation_id="terminateMember", responses=documented(409)
    )
    async def terminate() -> MemberStatus:
        """Stop it and remove its data directory, if the agent made and marked that, its certificate and key."""
        return await member.terminate()

    @app.post(
        "/v1/member/archive",
        tags=["member"],
        operation_id="archiveMember",
        responses=documented(409, body=True),
    )
    async def archive(request: ArchiveRequest) -> ArchiveResult:
        """Move the log, and the data if asked, of a stopped member aside under a label."""
        return await member.archive(request)


def _add_secrets(app: FastAPI, member: MemberControl) -> None:
    @app.put(
        "/v1/member/tls",
        tags=["member"],
        operation_id="putMemberTls",
        responses=documented(409, body=True),
    )
    async def put_tls(material: MemberTls) -> MemberStatus:
        """Certificate and key for a member that is started with ``tls`` ``own``; gone when it is terminated."""
        return await member.put_tls(material)
