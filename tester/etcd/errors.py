"""What a call to a member can answer instead of a result, and what that says about a write.

::

    InfrastructureError
    └── RpcError          one call to one member failed

The rule for a write is one-sided. ``fail`` claims that the write was not applied and never will be, so it
needs proof; ``info`` claims nothing. An error is definite only if etcd itself produced it before the request
was proposed to raft, or while it was applied and before anything changed:

=================================================  =======  ==================================================
error                                              outcome  why
=================================================  =======  ==================================================
INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND,  fail     checked before the proposal, or by the applier
OUT_OF_RANGE, PERMISSION_DENIED, UNAUTHENTICATED            before its first change (compacted, no such lease)
RESOURCE_EXHAUSTED ``too many requests``           fail     the member lags in applying and does not propose
UNAVAILABLE ``rpc not supported for learner``,     fail     refused by an interceptor before the handler
``not capable``
RESOURCE_EXHAUSTED ``database space exceeded``     info     the applier *applies the put* that exceeds the
                                                            quota, then answers so; only later ones bounce
UNAVAILABLE ``request timed out``,                 info     proposed, and nobody waits for its end any more
``leader changed``, ``server stopped``
UNAVAILABLE (connection), DEADLINE_EXCEEDED,       info     the request may have left: a refused connection
UNKNOWN, CANCELLED, INTERNAL, DATA_LOSS, ...                cannot be told from a broken one
=================================================  =======  ==================================================
"""

from __future__ import annotations

from enum import StrEnum

from tester.errors import InfrastructureError


class StatusCode(StrEnum):
    """gRPC status codes other than OK, by name."""

    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"


_ETCD = "etcdserver: "

_DEFINITE_CODES = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.NOT_FOUND,
        StatusCode.OUT_OF_RANGE,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
    }
)

_DEFINITE_TEXTS = frozenset(
    {
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
        (StatusCode.UNAVAILABLE, "etcdserver: rpc not supported for learner"),
        (StatusCode.UNAVAILABLE, "etcdserver: not capable"),
    }
)


class RpcError(InfrastructureError):
    """A call failed. ``code`` is the gRPC status, ``text`` the message that came with it."""

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.text = text

    @property
    def kind(self) -> str:
        """What statistics count it under: etcd's own message, or the status when the words are gRPC's."""
        return self.text if self.text.startswith(_ETCD) else self.code.value

    @property
    def definite(self) -> bool:
        """True if a write that was answered so was surely not applied and never will be."""
        if not self.text.startswith(_ETCD):
            return False
        return self.code in _DEFINITE_CODES or (self.code, self.text) in _DEFINITE_TEXTS
