"""How HTTP/2 and gRPC say that a call failed, in the tester's words.

::

    RpcError
    └── NotProcessedError   the member surely never looked at the request
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.h2.frames import ErrorCode, error_code

_BY_NUMBER = ("OK", *StatusCode)

_BY_HTTP_STATUS = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}

_BY_RESET = {
    ErrorCode.CANCEL: StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


class NotProcessedError(RpcError):
    """A call that failed before the member could act on it: proof that a write was not applied.

    Either no byte of the request was handed to the transport, or the member said (REFUSED_STREAM, or GOAWAY
    with a lower last stream) that it has not processed the stream and never will.
    """

    @property
    def definite(self) -> bool:
        """Always."""
        return True


def deadline_exceeded(*, sent: bool) -> RpcError:
    """The deadline passed."""
    kind = RpcError if sent else NotProcessedError
    return kind(
        StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded" if sent else "Deadline Exceeded, never sent"
    )


def lost(reason: str) -> RpcError:
    """The connection was lost while the call was in flight."""
    return RpcError(StatusCode.UNAVAILABLE, reason)


def not_processed(reason: str) -> RpcError:
    """The member said that it never looked at the call."""
    return NotProcessedError(StatusCode.UNAVAILABLE, reason)


def not_sent(reason: str) -> RpcError:
    """There is no connection to send on."""
    return NotProcessedError(StatusCode.UNAVAILABLE, f"never sent: {reason}")


def closed(*, sent: bool) -> RpcError:
    """The channel was closed by its owner."""
    return (RpcError if sent else NotProcessedError)(StatusCode.CANCELLED, "the channel was closed")


def reset(number: int) -> RpcError:
    """The member ended the stream with RST_STREAM."""
    code = error_code(number)
    if code is None:
        return RpcError(StatusCode.UNKNOWN, f"the member reset the stream: {number}")
    text = f"the member reset the stream: {code.name}"
    if code is ErrorCode.REFUSED_STREAM:
        return not_processed(text)
    return RpcError(_BY_RESET.get(code, StatusCode.INTERNAL), text)


def from_trailers(number: int, message: bytes) -> RpcError:
    """A grpc-status other than 0; ``message`` is percent-encoded UTF-8, as it came."""
    code = StatusCode(_BY_NUMBER[number]) if 0 < number < len(_BY_NUMBER) else StatusCode.UNKNOWN
    return RpcError(code, unquote_to_bytes(message).decode("utf-8", "replace"))


def from_http(status: int) -> RpcError:
    """An answer without grpc-status: something other than a gRPC server spoke."""
    return RpcError(
        _BY_HTTP_STATUS.get(status, StatusCode.UNKNOWN), f"HTTP status {status} without grpc-status"
    )
