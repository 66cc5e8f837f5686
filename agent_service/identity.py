"""Who is calling: the subject of the client certificate, as it travels with a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from starlette.types import ASGIApp, Receive, Scope, Send

_SCOPE_KEY = "etcd_chaos.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a verified client certificate."""

    name: str
    """Subject common name."""
    trust: ssl.SSLContext | None
    """The context that verified the certificate; ``None`` in-process, where there is none."""


def caller_of(scope: Scope) -> Caller | None:
    """The caller of a request; ``None`` when it came without a certificate or with an ambiguous subject."""
    caller = scope.get(_SCOPE_KEY)
    return caller if isinstance(caller, Caller) else None


def set_caller(scope: Scope, caller: Caller | None) -> None:
    """Put the caller into a request; only the server's own protocol may know who it is."""
    scope[_SCOPE_KEY] = caller


def as_client(app: ASGIApp, name: str) -> ASGIApp:
    """The app as ``name`` sees it, without a network: for tests over ``httpx.ASGITransport``."""
    caller = Caller(name, trust=None)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope = dict(scope)
        set_caller(scope, caller)
        await app(scope, receive, send)

    return call


def caller_name(scope: Scope) -> str:
    """The name on the caller's certificate, for the audit log."""
    caller = caller_of(scope)
    return caller.name if caller else "unknown"
