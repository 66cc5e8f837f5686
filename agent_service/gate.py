"""What every request passes on its way to a handler and back: who, how much, how long, and the audit."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from agent_service.identity import caller_of
from agent_service.models import MAX_SNAPSHOT_BYTES
from agent_service.problems import problem, problem_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent_service.access import Access
    from agent_service.audit import AuditLog
    from agent_service.models import Problem
    from agent_service.ratelimit import RateLimit

MAX_BODY_BYTES = 64 * 1024
STREAMED = "/v1/snapshots/"
"""Where a large body goes piece by piece to its handler, bounded in size, and in time for each piece."""
MAX_REQUESTS = 64
BODY_SECONDS = 10.0
SEND_SECONDS = 30.0
"""For one piece of an answer: a reader slower than this is cut off."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_MUTATING = frozenset({"/v1/faults/plan"})
_KEPT_ALIVE = "/v1/load/"
"""Whoever reads here renews the lease of a load worker."""
_TOO_MANY = 429
_NOT_AUDITED = ("/v1/member/tls", "/v1/load/")
"""Where bodies go that no log may hold."""
_UNKNOWN = frozenset({"404", "405"})
_RENEWAL = "/renew"
"""What comes every few seconds while a fault is held: refused ones are audited, others by the fault's manager."""
_AUDITED_BODY_BYTES = 2048

_log = logging.getLogger(__name__)


class _RefusalError(Exception):
    """The request goes no further."""

    def __init__(self, refusal: Problem, *, close: bool = False, retry_after: float | None = None) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
        self.headers = {"connection": "close"} if close else {}
        if retry_after is not None:
            self.headers["retry-after"] = str(math.ceil(retry_after))


class Gate:
    """ASGI middleware around the whole application.

    In this order: Host header, connection still trusted, client on a list and what that list allows, requests a
    second, requests at once, body. The body is read here, bounded in size and time, and handed on as one piece; a
    snapshot passes through. Every mutating request leaves a line in the audit log before its answer leaves, refused
    ones too; only renewals that are granted do not, and what comes above the rate: a flood would push all else out of
    the log. What changes something is not cancelled by a timeout: its handler bounds itself, and half a fault is
    worse than a late answer.
    """

    def __init__(self, app: ASGIApp, access: Access, audit: AuditLog, rate: RateLimit) -> None:
        self._app = app
        self._access = access
        self._rate = rate
        self._audit = audit
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the agent speaks HTTP only, not {scope['type']}")
        request = _Request(scope, receive, send, self._audit)
        self._active += 1
        try:
            self._admit(scope)
            await request.read_body()
            await self._app(scope, request.receive, request.send)
        except _RefusalError as error:
            await problem_response(error.refusal, error.headers)(scope, receive, request.send)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if request.status is not None:
                raise  # too late for an answer: the server cuts the connection off
            defect = problem(500, "a defect of the agent; its log has the traceback")
            await problem_response(defect)(scope, receive, request.send)
        finally:
            self._active -= 1
            if request.status is None:
                await request.note("no answer")

    def _admit(self, scope: Scope) -> None:
        host = _host(Headers(scope=scope).getlist("host"))
        if not self._access.allows_host(host):
            raise _RefusalError(problem(421, f"this agent is not {host!r}", remedy="add it to allowed_hosts"))
        caller = caller_of(scope)
        if caller is None:
            raise _RefusalError(problem(403, "the client certificate has not exactly one common name"))
        if not self._access.is_current(caller):
            detail = "this connection was verified by CAs that have been replaced since"
            raise _RefusalError(problem(421, detail, remedy="connect again"), close=True)
        if not self._access.allows_client(caller):
            remedy = "add it to tls.allowed_clients or tls.readers in the agent's settings and send the agent SIGHUP"
            raise _RefusalError(problem(403, f"client {caller.name!r} is not on the list", remedy=remedy))
        reads = scope["method"] in _READING and not scope["path"].startswith(_KEPT_ALIVE)
        if not reads and not self._access.may_change(caller):
            remedy = "use a certificate of tls.allowed_clients, or move the name there from tls.readers"
            raise _RefusalError(problem(403, f"client {caller.name!r} may only read", remedy=remedy))
        # Whoever floods an agent may still undo what is on its host.
        if _heals(scope):
            return
        if (wait := self._rate.wait_seconds(caller.name)) > 0:
            detail = f"client {caller.name!r} makes more requests a second than this agent takes"
            remedy = "try again after the time in Retry-After, or raise requests_per_second in the agent's settings"
            raise _RefusalError(problem(_TOO_MANY, detail, remedy=remedy), retry_after=wait)
        if self._active > MAX_REQUESTS:
            raise _RefusalError(problem(503, f"{MAX_REQUESTS} requests are under way", remedy="try again"))


class _Request:
    """One request on its way through: its body, its answer's status, its line in the audit log."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, audit: AuditLog) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._audit = audit
        self._body = b""
        self._replayed = False
        self._streamed = scope["method"] == "PUT" and scope["path"].startswith(STREAMED)
        self.status: int | None = None

    async def read_body(self) -> None:
        """Take the whole body in, within bounds; of one that is streamed, see that it says how large it is."""
        announced = Headers(scope=self._scope).get("content-length", "0")
        limit = MAX_SNAPSHOT_BYTES if self._streamed else MAX_BODY_BYTES
        if not announced.isdecimal() or int(announced) > limit:
            raise _too_large(limit)
        if self._streamed:
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while await self._read_piece():
                    pass
        except TimeoutError:
            late = problem(408, f"the body did not arrive within {BODY_SECONDS:g} s")
            raise _RefusalError(late, close=True) from None

    async def _read_piece(self) -> bool:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _RefusalError(problem(400, "the connection ended within the body"), close=True)
        self._body += message.get("body", b"")
        if len(self._body) > MAX_BODY_BYTES:
            raise _too_large(MAX_BODY_BYTES)
        return bool(message.get("more_body", False))

    async def receive(self) -> Message:
        """The body for the application, once; then whatever the connection says."""
        if self._streamed and self.status is None:
            return await self._next_piece()
        if self._replayed:
            return await self._receive()
        self._replayed = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _next_piece(self) -> Message:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._receive()
        except TimeoutError:
            late = problem(408, f"a piece of the body did not arrive within {BODY_SECONDS:g} s")
            raise _RefusalError(late, close=True) from None

    async def send(self, message: Message) -> None:
        """Hand a piece of the answer to the connection, with a limit in time; the audit line comes first."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            await self.note(str(self.status))
        async with asyncio.timeout(SEND_SECONDS):
            await self._send(message)

    async def note(self, outcome: str) -> None:
        """Leave a line in the audit log, if this request could change anything."""
        path = self._scope["path"]
        if self._scope["method"] in _READING or path in _NOT_MUTATING:
            return
        if (path.endswith(_RENEWAL) and outcome == "200") or outcome == str(_TOO_MANY):
            return
        caller = caller_of(self._scope)
        # A path or method that is none of the agent's may carry what was meant for another service.
        untold = path.startswith(_NOT_AUDITED) or outcome in _UNKNOWN
        body = "" if untold else self._body[:_AUDITED_BODY_BYTES].decode(errors="replace")
        await self._audit.tell(
            caller.name if caller else "unknown",
            f"{self._scope['method']} {path}",
            {"body": body} if body else {},
            outcome,
        )


def _heals(scope: Scope) -> bool:
    method: str = scope["method"]
    path: str = scope["path"]
    undoes = method == "DELETE" and (path == "/v1/faults" or path.startswith("/v1/faults/"))
    return undoes or (method == "POST" and path == "/v1/emergency-stop")


def _too_large(limit: int) -> _RefusalError:
    return _RefusalError(problem(413, f"a body has at most {limit} bytes"), close=True)


def _host(values: Sequence[str]) -> str:
    """The one Host header without port and brackets."""
    if len(values) != 1:
        raise _RefusalError(problem(400, "exactly one Host header is needed"))
    name, bracket, _port = values[0].partition("]")
    return name.removeprefix("[") if bracket else name.partition(":")[0]
