"""Metrics, for whoever may speak with the agent."""

import asyncio

from fastapi import FastAPI, Response

from agent_service.emergency import EmergencyBrake
from agent_service.exposition import expose
from agent_service.faults.manager import FaultManager
from agent_service.member import MemberControl
from agent_service.problems import documented
from agent_service.usage import UsageMeter

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def add_metrics_route(
    app: FastAPI, meter: UsageMeter, member: MemberControl, faults: FaultManager, brake: EmergencyBrake
) -> None:
    """The route that Prometheus scrapes, with a certificate like everybody else."""

    @app.get(
        "/v1/metrics",
        tags=["host"],
        operation_id="getMetrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Metrics."}, **documented()},
    )
    async def get_metrics() -> Response:
        """Faults by kind and state, the member's state and exits, what agent and member use."""
        status = member.status()
        usage = await asyncio.to_thread(meter.read, status.pid)
        text = expose(faults.list(), status, usage, stopped=brake.status().engaged)
        return Response(text, media_type=_TEXT)
