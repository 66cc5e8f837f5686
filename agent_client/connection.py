"""Requests to one agent: deadlines, the one repetition that is always safe, and errors with a name."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError

from agent_client.diagnosis import certificate_is_refused
from agent_client.errors import AgentRefusedError, AgentTlsError, AgentUnreachableError, AgentVersionError
from agent_service.models import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent_client.tls import ClientTls

_OLD_CONNECTIONS = 8
"""Kept from before a change of CAs, at the most: then one must have been new."""
_MISDIRECTED = 421
_TOO_MANY = 429
_JSON = (("content-type", "application/json"),)
_BINARY = (("content-type", "application/octet-stream"),)
_PROBLEM = "application/problem+json"
_VERSION_REMEDY = "deploy the agent of this release: ansible-playbook playbooks/deploy.yml"


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is too large to hold: ``size`` bytes, that ``pieces`` gives anew for each attempt."""

    size: int
    pieces: Callable[[], AsyncIterator[bytes]]


class Connection:
    """Talks to one agent over a transport. No redirects, no cookies, no proxies, no environment.

    ``tls`` is what the transport uses, if it is a network's.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport, tls: ClientTls | None) -> None:
        self.url = httpx.URL(url)
        self._join = lru_cache(64)(self.url.join)  # costs as much as everything else about a request
        self._transport = transport
        self._tls = tls
        self._headers = [
            ("host", self.url.netloc.decode("ascii")),
            ("accept", f"application/json, {_PROBLEM}"),
        ]

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def call(self, method: str, target: str, body: bytes | Upload, timeout_seconds: float) -> bytes:
        """One request, its whole answer.

        Raises:
            AgentClientError: one of its kinds.
        """
        async with self.stream(method, target, body, timeout_seconds) as response:
            return await response.aread()

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, body: bytes | Upload, timeout_seconds: float
    ) -> AsyncIterator[httpx.Response]:
        """One request; its answer as it comes, surely not an error.

        Raises:
            AgentClientError: one of its kinds.
        """
        what = f"agent {self.url}: {method} {target}"
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await self._send(method, target, body)
                try:
                    if not response.is_success:
                        raise _refusal(what, response, await response.aread())
                    yield response
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise _unreachable(what, f"no answer within {timeout_seconds:g} s") from error
        except (httpx.TransportError, ssl.SSLError) as error:
            raise await self._failure(what, error) from error

    async def _failure(self, what: str, error: Exception) -> AgentTlsError | AgentUnreachableError:
        tls_error = _tls_error(error)
        if isinstance(tls_error, ssl.SSLCertVerificationError):
            return _distrust(what, f"the agent's certificate is not trusted: {tls_error.verify_message}")
        if tls_error is not None or await self._is_refused(error):
            return _distrust(what, "the agent does not take this certificate")
        return _unreachable(what, str(error) or type(error).__name__)

    async def _is_refused(self, error: Exception) -> bool:
        if self._tls is None or not isinstance(error, (httpx.ConnectError, httpx.ReadError)):
            return False  # an agent that has begun to answer has taken the certificate
        return await certificate_is_refused(self.url.host, self.url.port or 443, self._tls.context)

    async def _send(self, method: str, target: str, body: bytes | Upload) -> httpx.Response:
        response = await self._attempt(method, target, body)
        while response.status_code == _TOO_MANY:
            # The agent has done nothing, and says when it takes the next one.
            seconds = response.headers.get("retry-after", "")
            await response.aread()
            await response.aclose()
            await asyncio.sleep(int(seconds) if seconds.isdecimal() else 1)
            response = await self._attempt(method, target, body)
        for _ in range(_OLD_CONNECTIONS):
            if response.status_code != _MISDIRECTED:
                break
            # The agent has done nothing: it wants the request on a connection that its CAs of now have verified
            # (RFC 9110, 15.5.20). The old connection is closed with the answer; the next may be another old one.
            await response.aread()
            await response.aclose()
            response = await self._attempt(method, target, body)
        return response

    async def _attempt(self, method: str, target: str, body: bytes | Upload) -> httpx.Response:
        if isinstance(body, Upload):
            headers = [*self._headers, *_BINARY, ("content-length", str(body.size))]
            content: bytes | AsyncIterator[bytes] = body.pieces()
        else:
            headers, content = [*self._headers, *(_JSON if body else ())], body
        request = httpx.Request(method, self._join(target), headers=headers, content=content)
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response


def _refusal(what: str, response: httpx.Response, body: bytes) -> AgentRefusedError | AgentVersionError:
    if response.headers.get("content-type") == _PROBLEM:
        try:
            problem = Problem.model_validate_json(body)
        except ValidationError:
            pass  # of another version: below
        else:
            return AgentRefusedError(f"{what}: {problem.status} {problem.title}: {problem.detail}", problem)
    return AgentVersionError(
        f"{what}: status {response.status_code} without a problem: no agent of this release answers there",
        remedy=_VERSION_REMEDY,
    )


def not_understood(what: str, error: ValidationError) -> AgentVersionError:
    """An answer that is none of this version's."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the answer"
    return AgentVersionError(f"{what}: {place}: {first['msg']}", remedy=_VERSION_REMEDY)


def _unreachable(what: str, reason: str) -> AgentUnreachableError:
    return AgentUnreachableError(
        f"{what}: {reason}", remedy="see on the host: systemctl status etcd-chaos-agent"
    )


def _distrust(what: str, reason: str) -> AgentTlsError:
    return AgentTlsError(f"{what}: {reason}", remedy="make the certificates anew: run playbooks/deploy.yml")


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS error at the bottom of a chain of exceptions."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return error
        error = error.__cause__ or error.__context__
    return None
