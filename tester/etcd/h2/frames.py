"""RFC 9113 as constants and pure functions: frames as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1
DEFAULT_FRAME_BYTES = 16_384
MAX_FRAME_BYTES = 2**24 - 1
MAX_STREAM = 2**31 - 1
HTTP_OK = 200

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20


_HEADER = Struct(">LBL")
pack_header, unpack_header = _HEADER.pack, _HEADER.unpack_from
"""Of a frame: ``size << 8 | kind`` (three bytes and one, taken as one number), flags, stream with its reserved bit."""


class ErrorCode(IntEnum):
    """Reasons in RST_STREAM and GOAWAY."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


_ERROR_CODES = {code.value: code for code in ErrorCode}


def error_code(number: int) -> ErrorCode | None:
    """The reason with this number; ``None`` if RFC 9113 has none."""
    return _ERROR_CODES.get(number)


class Setting(IntEnum):
    """Parameters of SETTINGS."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ProtocolError(Exception):
    """The peer broke the protocol: the connection cannot go on. Never leaves this package."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(key.to_bytes(2) + value.to_bytes(4) for key, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


SETTINGS_ACK = frame(SETTINGS, ACK, 0, b"")


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


def goaway(code: ErrorCode) -> bytes:
    """A GOAWAY frame of a client: the server opened no stream, so the last one is 0."""
    return frame(GOAWAY, 0, 0, bytes(4) + code.to_bytes(4))


def parse_settings(payload: bytes) -> dict[int, int]:
    """Values by parameter, unknown ones included; the last of several wins.

    Raises:
        ProtocolError: the length is no multiple of six, or a value is out of its range.
    """
    if len(payload) % 6:
        raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    values = {
        int.from_bytes(payload[at : at + 2]): int.from_bytes(payload[at + 2 : at + 6])
        for at in range(0, len(payload), 6)
    }
    if values.get(Setting.INITIAL_WINDOW_SIZE, 0) > MAX_WINDOW:
        raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS with an initial window that is too large")
    if not DEFAULT_FRAME_BYTES <= values.get(Setting.MAX_FRAME_SIZE, DEFAULT_FRAME_BYTES) <= MAX_FRAME_BYTES:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS with a frame size out of range")
    return values


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer will look at no stream above ``last_stream``."""

    last_stream: int
    why: str


def parse_goaway(stream: int, payload: bytes) -> GoAway:
    """What a GOAWAY frame says.

    Raises:
        ProtocolError: it is too short, or on a stream.
    """
    if stream or len(payload) < 8:
        raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "malformed GOAWAY")
    number = int.from_bytes(payload[4:8])
    code = error_code(number)
    name = code.name if code is not None else str(number)
    why = payload[8:].decode("utf-8", "replace")[:200]
    return GoAway(int.from_bytes(payload[:4]) & MAX_STREAM, f"{name}: {why}" if why else name)


def content(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame carries, without padding and priority.

    ``flags`` of a DATA frame never mean ``PRIORITIZED``: mask them before.

    Raises:
        ProtocolError: the padding is longer than the frame.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "padded frame without a padding length")
        start, end = 1, end - payload[0]
    if flags & PRIORITIZED:
        start += 5
    if start > end:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "frame with more padding than payload")
    return payload[start:end]
