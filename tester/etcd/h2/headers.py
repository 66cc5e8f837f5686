"""HPACK: header blocks of requests encoded once, those of responses decoded in order.

Requests are literals that no table remembers, so a block is the same bytes on every connection and for every
call with the same method and timeout. Responses use the peer's dynamic table: a block may be looked up
instead of decoded for as long as that table has not changed since the block was first seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hpack

from tester.etcd.h2.frames import DEFAULT_FRAME_BYTES, HTTP_OK, ErrorCode, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.etcd.channel import Method

_REMEMBERED_BLOCKS = 256
_LARGEST_TIMEOUT = 99_999_999
"""gRPC allows eight digits."""

# A table size update to zero opens every request: whatever table the peer allows, ours is not larger.
_NO_TABLE = b"\x20"
_METHOD_POST = b"\x83"
_SCHEME_HTTP, _SCHEME_HTTPS = b"\x86", b"\x87"
_NAME_PATH, _NAME_AUTHORITY, _NAME_CONTENT_TYPE = 4, 1, 31


def _integer(value: int, bits: int, first: int = 0) -> bytes:
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((first | value,))
    out = bytearray((first | limit,))
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: bytes) -> bytes:
    return _integer(len(value), 7) + value


def _literal(name: bytes | int, value: bytes, *, secret: bool = False) -> bytes:
    """A literal without indexing; ``secret`` ones are never indexed by anybody on the way."""
    first = 0x10 if secret else 0x00
    if isinstance(name, int):
        return _integer(name, 4, first) + _text(value)
    return bytes((first,)) + _text(name) + _text(value)


def _timeout(seconds: float) -> bytes:
    """``grpc-timeout``: whole milliseconds, rounded up, so that the member never gives up before we do."""
    return b"%dm" % min(max(1, math.ceil(seconds * 1000)), _LARGEST_TIMEOUT)


class RequestHeaders:
    """Header blocks of the requests of one channel."""

    def __init__(self, authority: str, *, tls: bool, token: str | None) -> None:
        """Encode what all requests share.

        Raises:
            ValueError: the token does not fit into a header frame.
        """
        self._before = _NO_TABLE + _METHOD_POST + (_SCHEME_HTTPS if tls else _SCHEME_HTTP)
        self._after = (
            _literal(_NAME_AUTHORITY, authority.encode())
            + _literal(_NAME_CONTENT_TYPE, b"application/grpc")
            + _literal(b"te", b"trailers")
            + _literal(b"user-agent", b"etcd-chaos")
        )
        if token is not None:
            self._after += _literal(b"token", token.encode(), secret=True)
        if len(self._after) > DEFAULT_FRAME_BYTES - 256:
            raise ValueError("the auth token is too long for one header frame")
        self._blocks: dict[tuple[Method, float], bytes] = {}

    def block(self, method: Method, timeout_seconds: float) -> bytes:
        """The block of one request; it fits into one frame."""
        known = self._blocks.get((method, timeout_seconds))
        if known is not None:
            return known
        block = (
            self._before
            + _literal(_NAME_PATH, method.value.encode())
            + self._after
            + _literal(b"grpc-timeout", _timeout(timeout_seconds))
        )
        if len(self._blocks) < _REMEMBERED_BLOCKS:
            self._blocks[method, timeout_seconds] = block
        return block


@dataclass(frozen=True, slots=True)
class Head:
    """What a header block of a response says."""

    http_status: int | None
    grpc: bool
    """The content type is gRPC's."""
    grpc_status: int | None
    """-1: something that is no number."""
    grpc_message: bytes
    opens: bool
    """It is the first one of a gRPC answer."""

    @property
    def informational(self) -> bool:
        """An interim answer (1xx): the real one follows."""
        return self.http_status is not None and 100 <= self.http_status < 200


class ResponseHeaders:
    """Decodes the header blocks of one connection; every one must pass through here, in order."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder()
        self.known: dict[bytes, Head] = {}
        """Blocks that say the same whenever they come, as long as the table stays as it is."""

    def decode(self, block: bytes) -> Head:
        """What the block says.

        Raises:
            ProtocolError: it is malformed: the table is lost, and with it the connection.
        """
        known = self.known.get(block)
        if known is not None:
            return known
        before = self._table()
        try:
            head = _head((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        except hpack.HPACKError as error:
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from error
        if not _same(before, self._table()):
            self.known.clear()  # indexes mean something else now
        elif len(self.known) < _REMEMBERED_BLOCKS:
            self.known[block] = head
        return head

    def _table(self) -> tuple[object, int, int]:
        """Newest entry, number of entries and size limit: every change of the dynamic table changes one."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return (entries[0] if entries else None, len(entries), table.maxsize)


def _same(before: tuple[object, int, int], after: tuple[object, int, int]) -> bool:
    # By identity: the same field added twice is two entries, and shifts all indexes.
    return before[0] is after[0] and before[1:] == after[1:]


def _head(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    http_status, grpc, grpc_status, message = None, False, None, b""
    for name, value in fields:
        if name == b":status":
            http_status = _number(value)
        elif name == b"content-type":
            grpc = value.startswith(b"application/grpc")
        elif name == b"grpc-status":
            grpc_status = _number(value)
        elif name == b"grpc-message":
            message = value
    return Head(http_status, grpc, grpc_status, message, opens=grpc and http_status == HTTP_OK)


def _number(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 4 else -1
