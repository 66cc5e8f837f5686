"""The emergency stop."""

from fastapi import FastAPI, Request

from agent_service.emergency import EmergencyBrake
from agent_service.identity import caller_name
from agent_service.models import EmergencyStop, EmergencyStopRequest
from agent_service.problems import documented

_PATH = "/v1/emergency-stop"


def add_emergency_routes(app: FastAPI, brake: EmergencyBrake) -> None:
    """Routes that look at, engage and clear the stop."""

    @app.get(_PATH, tags=["emergency"], operation_id="getEmergencyStop", responses=documented())
    async def get_stop() -> EmergencyStop:
        """Whether new faults are refused here, by whose order and since when."""
        return brake.status()

    @app.post(_PATH, tags=["emergency"], operation_id="engageEmergencyStop", responses=documented(body=True))
    async def engage(body: EmergencyStopRequest, request: Request) -> EmergencyStop:
        """Heal every fault and refuse new ones until the stop is cleared, also after a restart or reboot."""
        return await brake.engage(body.reason, caller_name(request.scope))

    @app.delete(_PATH, tags=["emergency"], operation_id="clearEmergencyStop", responses=documented())
    async def clear(request: Request) -> EmergencyStop:
        """Allow faults again; harmless where nothing was stopped."""
        return await brake.clear(caller_name(request.scope))
