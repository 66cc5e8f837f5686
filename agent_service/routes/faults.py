"""Faults as resources: injected under a lease, renewed, healed."""

from typing import Annotated

from fastapi import FastAPI, Path, Request, Response

from agent_service.errors import NotFoundError
from agent_service.faults.manager import FaultManager
from agent_service.identity import caller_name
from agent_service.models import FaultPlan, FaultRequest, FaultSpec, FaultStatus, Name, RenewRequest
from agent_service.problems import documented

FaultId = Annotated[Name, Path(description="The id under which the fault was injected.")]


def add_fault_routes(app: FastAPI, faults: FaultManager) -> None:
    """Routes that look at, inject and heal faults."""
    _add_reading(app, faults)
    _add_injecting(app, faults)
    _add_healing(app, faults)


def _add_reading(app: FastAPI, faults: FaultManager) -> None:
    @app.get("/v1/faults", tags=["faults"], operation_id="listFaults", responses=documented())
    async def list_faults() -> tuple[FaultStatus, ...]:
        """Every fault the agent knows of."""
        return faults.list()

    @app.get("/v1/faults/{fault_id}", tags=["faults"], operation_id="getFault", responses=documented(404))
    async def get_fault(fault_id: FaultId) -> FaultStatus:
        """One fault; what is left of its lease is in seconds."""
        return faults.get(fault_id)

    @app.post(
        "/v1/faults/plan", tags=["faults"], operation_id="planFault", responses=documented(409, body=True)
    )
    async def plan(spec: FaultSpec) -> FaultPlan:
        """What a fault would do here, and its undo, as a person reads them. Nothing is touched."""
        return await faults.plan(spec)


def _add_injecting(app: FastAPI, faults: FaultManager) -> None:
    @app.post(
        "/v1/faults",
        tags=["faults"],
        operation_id="injectFault",
        status_code=201,
        responses={
            200: {"description": "This very fault was there already.", "model": FaultStatus},
            **documented(409, 424, body=True),
        },
    )
    async def inject(body: FaultRequest, request: Request, response: Response) -> FaultStatus:
        """Inject a fault and verify its effect.

        Its undo is on disk before anything is done. Not renewed, it heals by itself after ``lease_seconds``.
        The same id with the same spec again is the same fault; with another spec it is a 409.
        """
        repeated = _is_known(faults, body.id)
        status = await faults.inject(body, _who(request))
        response.status_code = 200 if repeated else 201
        return status

    @app.post(
        "/v1/faults/{fault_id}/renew",
        tags=["faults"],
        operation_id="renewFault",
        responses=documented(404, 409, body=True),
    )
    async def renew(fault_id: FaultId, body: RenewRequest, request: Request) -> FaultStatus:
        """A new lease of ``lease_seconds``, counted from now."""
        return await faults.renew(fault_id, body.lease_seconds, _who(request))


def _add_healing(app: FastAPI, faults: FaultManager) -> None:
    @app.delete(
        "/v1/faults/{fault_id}", tags=["faults"], operation_id="healFault", responses=documented(404, 424)
    )
    async def heal(fault_id: FaultId, request: Request) -> FaultStatus:
        """Undo a fault and verify that it is gone; a healed one stays healed."""
        return await faults.heal(fault_id, _who(request))

    @app.delete("/v1/faults", tags=["faults"], operation_id="healAllFaults", responses=documented())
    async def heal_all(request: Request) -> tuple[FaultStatus, ...]:
        """Undo every fault, last in first out. One that resists does not stop the rest: see each state."""
        return await faults.heal_all("request", _who(request))


def _is_known(faults: FaultManager, fault_id: str) -> bool:
    try:
        faults.get(fault_id)
    except NotFoundError:
        return False
    return True


def _who(request: Request) -> str:
    return caller_name(request.scope)
