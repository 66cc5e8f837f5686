"""Bytes in, frames out: whole frames, whole header blocks, in order, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tester.etcd.h2 import frames
from tester.etcd.h2.frames import (
    DEFAULT_FRAME_BYTES,
    END_HEADERS,
    HEADER_BYTES,
    HEADERS,
    MAX_STREAM,
    ErrorCode,
    ProtocolError,
    unpack_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Handler: TypeAlias = "Callable[[int, int, bytes], None]"
"""Takes flags, stream and payload. A header block comes whole, without padding and priority."""

AnswerHandler: TypeAlias = "Callable[[bytes, int, int, int], int]"
"""Is offered a buffer, where in it a header block starts and stops, and the stream; says up to where it took what is
there, which is more than the block, or 0: nothing, it shall come frame by frame."""

_BLOCK_FLAGS = END_HEADERS | frames.PADDED | frames.PRIORITIZED
_MAX_BLOCK_BYTES = 64 * 1024
_PRIORITY_BYTES = 5


class FrameReader:
    """Cuts a byte stream into frames and hands each to the handler of its kind; unknown kinds are ignored."""

    def __init__(self, handlers: Mapping[int, Handler], take_answer: AnswerHandler) -> None:
        self._take_answer = take_answer
        self._handlers = dict(handlers)
        self._on_block = self._handlers[HEADERS]
        self._handlers |= {
            HEADERS: self._on_headers,
            frames.CONTINUATION: self._on_continuation,
            frames.PRIORITY: self._on_priority,
        }
        self._buffer = b""
        self._greeted = False
        self._block: bytearray | None = None
        """A header block that continues in further frames."""
        self._block_stream = 0
        self._block_flags = 0

    def feed(self, data: bytes) -> None:
        """Take bytes in, and call the handlers of every frame that is complete now.

        Raises:
            ProtocolError: the peer broke the protocol; nothing more may be fed.
        """
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        handlers, on_block, take_answer = self._handlers, self._on_block, self._take_answer
        while end - at >= HEADER_BYTES:
            word, flags, stream = unpack_header(buffer, at)
            size, kind = word >> 8, word & 0xFF
            if size > DEFAULT_FRAME_BYTES or self._block is not None or not self._greeted:
                self._check(size, kind, flags)
            stop = at + HEADER_BYTES + size
            if stop > end:
                break
            if kind == HEADERS and flags == END_HEADERS:
                after = take_answer(buffer, at + HEADER_BYTES, stop, stream)
                if after:
                    at = after
                    continue
            whole_block = kind == HEADERS and flags & _BLOCK_FLAGS == END_HEADERS
            handler = on_block if whole_block else handlers.get(kind)
            if handler is not None:  # unknown kinds are ignored: RFC 9113, 5.5
                handler(flags, stream & MAX_STREAM, buffer[at + HEADER_BYTES : stop])
            at = stop
        self._buffer = buffer[at:]

    def _check(self, size: int, kind: int, flags: int) -> None:
        if not self._greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "it speaks something else than HTTP/2")
            self._greeted = True
        if size > DEFAULT_FRAME_BYTES:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"frame of {size} bytes, more than allowed")
        if self._block is not None and kind != frames.CONTINUATION:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "header block interrupted by another frame")

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.PRIORITIZED):
            payload = frames.content(flags, payload)
        if flags & END_HEADERS:
            self._on_block(flags, stream, payload)
        else:
            self._block, self._block_stream, self._block_flags = bytearray(payload), stream, flags

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or stream != self._block_stream:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block += payload
        if len(self._block) > _MAX_BLOCK_BYTES:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "header block larger than allowed")
        if flags & END_HEADERS:
            block, self._block = bytes(self._block), None
            self._on_block(self._block_flags | END_HEADERS, stream, block)

    def _on_priority(self, _flags: int, _stream: int, payload: bytes) -> None:
        if len(payload) != _PRIORITY_BYTES:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a wrong length")
