"""The host: what it is, its clocks, what it uses, its audit log."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query

from agent_service.audit import AuditLog
from agent_service.host import HostFacts
from agent_service.member import MemberControl
from agent_service.models import AuditEntry, HostClock, HostInfo, Usage
from agent_service.problems import documented
from agent_service.usage import UsageMeter

AuditLimit = Annotated[int, Query(ge=1, le=1000, description="At most this many entries.")]


def add_host_routes(
    app: FastAPI, facts: HostFacts, meter: UsageMeter, member: MemberControl, audit: AuditLog
) -> None:
    """Routes about the host itself."""

    @app.get("/v1/host", tags=["host"], operation_id="getHost", responses=documented())
    async def get_host() -> HostInfo:
        """Facts, installed etcd versions, and whether this host can do each kind of fault, or why not."""
        return await facts.info()

    @app.get("/v1/clock", tags=["host"], operation_id="getClock", responses=documented())
    async def get_clock() -> HostClock:
        """One reading of the clocks, in nanoseconds. Monotonic time is comparable within one boot id only."""
        return facts.clock()

    @app.get("/v1/usage", tags=["host"], operation_id="getUsage", responses=documented())
    async def get_usage() -> Usage:
        """What host, agent and member use: bytes, seconds of CPU, percent since the reading before."""
        return await asyncio.to_thread(meter.read, member.status().pid)

    @app.get("/v1/audit", tags=["host"], operation_id="getAudit", responses=documented())
    async def get_audit(limit: AuditLimit = 100) -> tuple[AuditEntry, ...]:
        """The newest entries of the audit log, oldest first."""
        return await asyncio.to_thread(audit.read, limit)
