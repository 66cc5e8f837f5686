"""The HTTP application: routes, gate and problems around a member and its faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from agent_service import __version__
from agent_service.emergency import EmergencyBrake
from agent_service.gate import Gate
from agent_service.host import HostFacts
from agent_service.models import Problem
from agent_service.problems import install
from agent_service.ratelimit import RateLimit
from agent_service.routes.emergency import add_emergency_routes
from agent_service.routes.faults import add_fault_routes
from agent_service.routes.host import add_host_routes
from agent_service.routes.load import add_load_routes
from agent_service.routes.member import add_member_routes
from agent_service.routes.metrics import add_metrics_route
from agent_service.routes.snapshot import add_snapshot_routes
from agent_service.usage import UsageMeter

if TYPE_CHECKING:
    from agent_service.access import Access
    from agent_service.audit import AuditLog
    from agent_service.faults.manager import FaultManager
    from agent_service.load.workers import LoadWorkers
    from agent_service.member import MemberControl
    from agent_service.settings import AgentSettings

_DESCRIPTION = """One agent per host: it owns one etcd member, every fault, and load workers on that host.

Mutual TLS (1.3) is required everywhere. Units are in the names: `*_seconds` are seconds, `*_ns` nanoseconds,
`*_bytes` bytes. Every error is `application/problem+json`. Every request that may change something leaves a
line in the audit log.
"""


@dataclass(frozen=True, slots=True)
class Agent:
    """The parts that the HTTP interface speaks for."""

    settings: AgentSettings
    member: MemberControl
    faults: FaultManager
    audit: AuditLog
    load: LoadWorkers


class _AgentApi(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The schema, with the body of all errors: FastAPI itself would file it under application/json."""
        schema = super().openapi()
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return schema


def create_app(agent: Agent, access: Access) -> FastAPI:
    """The application. It starts and stops nothing: that is ``agent_service.server``'s."""
    app = _AgentApi(
        title="etcd-chaos agent",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    facts, meter = HostFacts(agent.settings), UsageMeter(agent.settings.data_roots[0])
    # On the app itself, not on routers of their own: a flat list is matched faster and knows a path's methods
    add_host_routes(app, facts, meter, agent.member, agent.audit)
    add_member_routes(app, agent.member)
    add_snapshot_routes(app, agent.member)
    add_fault_routes(app, agent.faults)
    add_load_routes(app, agent.load)
    brake = EmergencyBrake(agent.settings.state_dir, agent.faults, agent.audit)
    add_emergency_routes(app, brake)
    add_metrics_route(app, UsageMeter(agent.settings.data_roots[0]), agent.member, agent.faults, brake)
    rate = RateLimit(agent.settings.requests_per_second)
    app.add_middleware(Gate, access=access, audit=agent.audit, rate=rate)
    install(app)
    return app
