"""Load workers as resources: started under a lease, told, heard, their histories fetched piece by piece."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Path, Query
from starlette.responses import Response

from agent_service.load.worker import PAUSE, RESUME
from agent_service.load.workers import LoadWorkers
from agent_service.models import LoadMessages, LoadRequest, LoadWorkerStatus, Name
from agent_service.problems import documented

WorkerId = Annotated[Name, Path(description="The id under which the worker was started.")]
After = Annotated[int, Query(ge=0, lt=2**53, description="Number of the first line wanted.")]
Offset = Annotated[int, Query(ge=0, lt=2**53, description="First byte wanted.")]
WaitSeconds = Annotated[float, Query(ge=0, le=5, description="How long to wait for a line.")]


def add_load_routes(app: FastAPI, load: LoadWorkers) -> None:
    """Routes that start, tell, read and end load workers. Reading keeps a worker alive."""
    _add_reading(app, load)
    _add_driving(app, load)


def _add_reading(app: FastAPI, load: LoadWorkers) -> None:
    @app.get("/v1/load", tags=["load"], operation_id="listLoad", responses=documented())
    async def list_load() -> tuple[LoadWorkerStatus, ...]:
        """Every load worker of this host, also those that have ended and left a history."""
        return load.list()

    @app.get(
        "/v1/load/{worker_id}/messages",
        tags=["load"],
        operation_id="getLoadMessages",
        responses=documented(404),
    )
    async def get_messages(
        worker_id: WorkerId, after: After = 0, wait_seconds: WaitSeconds = 0
    ) -> LoadMessages:
        """What the worker has said, and how it is. Waits for the first line; its lease begins anew."""
        return await load.get(worker_id).messages(after, wait_seconds)

    @app.get(
        "/v1/load/{worker_id}/history",
        tags=["load"],
        operation_id="getLoadHistory",
        response_class=Response,
        responses={
            200: {
                "description": "At most 1 MiB; nothing: that is all until now.",
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            },
            **documented(404),
        },
    )
    async def get_history(worker_id: WorkerId, offset: Offset = 0) -> Response:
        """Some of the worker's history, from a byte on; its lease begins anew."""
        content = await asyncio.to_thread(load.get(worker_id).read_history, offset)
        return Response(content, media_type="application/octet-stream")


def _add_driving(app: FastAPI, load: LoadWorkers) -> None:
    @app.put(
        "/v1/load/{worker_id}",
        tags=["load"],
        operation_id="startLoad",
        status_code=201,
        responses=documented(409, body=True),
    )
    async def start(worker_id: WorkerId, request: LoadRequest) -> LoadWorkerStatus:
        """Start a worker, without privileges. Nobody reads from it for ``lease_seconds``: it is ended."""
        return await load.start(worker_id, request)

    @app.post(
        "/v1/load/{worker_id}/pause", tags=["load"], operation_id="pauseLoad", responses=documented(404, 409)
    )
    async def pause(worker_id: WorkerId) -> LoadWorkerStatus:
        """Ask for nothing more; a message says when nothing is in flight."""
        worker = load.get(worker_id)
        await worker.say(PAUSE)
        return worker.status()

    @app.post(
        "/v1/load/{worker_id}/resume",
        tags=["load"],
        operation_id="resumeLoad",
        responses=documented(404, 409),
    )
    async def resume(worker_id: WorkerId) -> LoadWorkerStatus:
        """Go on."""
        worker = load.get(worker_id)
        await worker.say(RESUME)
        return worker.status()

    @app.post("/v1/load/{worker_id}/stop", tags=["load"], operation_id="stopLoad", responses=documented(404))
    async def stop(worker_id: WorkerId) -> LoadWorkerStatus:
        """End the worker; what it wrote stays. Ended by SIGKILL after ten seconds."""
        worker = load.get(worker_id)
        await worker.end("it was stopped")
        return worker.status()

    @app.delete(
        "/v1/load/{worker_id}",
        tags=["load"],
        operation_id="removeLoad",
        responses=documented(404),
    )
    async def remove(worker_id: WorkerId) -> LoadWorkerStatus:
        """End the worker and remove what it wrote; how it was."""
        return await load.remove(worker_id)
