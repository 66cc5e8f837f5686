"""Every error answer is ``application/problem+json`` (RFC 9457) with a ``Problem`` body."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from agent_service.errors import AgentServiceError, IllegalStateError
from agent_service.models import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"

_MAX_MISTAKES = 20

_MEANINGS = {
    400: "Not HTTP, or without a Host header.",
    403: "The client certificate's name is not on the agent's lists, or may only read.",
    404: "No such thing on this host.",
    405: "The path exists, the method does not.",
    408: "The body did not arrive in time.",
    409: "Illegal in the present state; `state` names it.",
    413: "The body is larger than the agent takes.",
    421: "The Host header names another host, or the CA that verified the connection is gone: connect anew.",
    422: "A field is wrong (`detail` names it), or the agent never does this.",
    424: "The fault had no effect, or its undo did not take.",
    429: "More requests a second than the agent takes of one client; `Retry-After` says when to try again.",
    500: "A defect of the agent; its log has the traceback.",
    503: "This host cannot do it, or too many requests at once.",
}
_EVERYWHERE = (400, 403, 421, 422, 429, 500, 503)
_WITH_BODY = (408, 413)


def documented(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of an operation's problems: those it names, and those that any request may meet."""
    every = sorted({*statuses, *_EVERYWHERE, *(_WITH_BODY if body else ())})
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
        for status in every
    }


_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def problem(status: int, detail: str, *, title: str | None = None, remedy: str | None = None) -> Problem:
    """A problem; the title defaults to the status' own phrase."""
    return Problem(title=title or HTTPStatus(status).phrase, status=status, detail=detail, remedy=remedy)


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that carries a problem."""
    return Response(
        body.model_dump_json(exclude_none=True), body.status, headers=headers, media_type=MEDIA_TYPE
    )


async def _agent_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, AgentServiceError):
        raise TypeError("registered for AgentServiceError") from error
    return problem_response(
        Problem(
            type=error.type,
            title=error.title,
            status=error.status,
            detail=error.detail,
            remedy=error.remedy,
            state=error.state if isinstance(error, IllegalStateError) else None,
        )
    )


async def _validation_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError("registered for RequestValidationError") from error
    mistakes = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    shown = "; ".join(mistakes[:_MAX_MISTAKES])
    more = f"; and {len(mistakes) - _MAX_MISTAKES} more" if len(mistakes) > _MAX_MISTAKES else ""
    return problem_response(problem(422, shown + more, title="Invalid request"))


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("registered for HTTPException") from error
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(sorted(_allowed_methods(request)))}
    return problem_response(problem(error.status_code, error.detail), headers)


def _allowed_methods(request: Request) -> set[str]:
    """The methods of a path; Starlette itself names those of its first route only."""
    return {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem. Defects (500) are the gate's."""
    app.add_exception_handler(AgentServiceError, _agent_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
