"""The answer as a member nearly always gives it, found in one look instead of three.

Three frames in a row on one stream: a header block seen before, a message that is whole, and trailers seen before. What
is otherwise (cut by the end of the buffer, in pieces, padded, an error, blocks not seen before) goes frame by frame:
this module only ever says "not that one".
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from tester.etcd.h2.calls import PREFIX_BYTES
from tester.etcd.h2.frames import (
    DATA,
    DEFAULT_FRAME_BYTES,
    END_HEADERS,
    END_STREAM,
    HEADER_BYTES,
    HEADERS,
    HTTP_OK,
    unpack_header,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from tester.etcd.h2.headers import Head

WholeAnswer: TypeAlias = "tuple[bytes, int]"
"""The message, and where in the buffer the answer ends."""

# A frame header as ``unpack_header`` has it, then the flag and the length before a message.
_unpack_data = Struct(">HBBBLBL").unpack_from
_DATA_BYTES = HEADER_BYTES + PREFIX_BYTES
_LAST_FLAGS = END_HEADERS | END_STREAM


def whole_answer(
    buffer: bytes, start: int, stop: int, stream: int, heads: Mapping[bytes, Head]
) -> WholeAnswer | None:
    """The answer whose header block is ``buffer[start:stop]``, if it is as usual and says OK. Pure.

    Args:
        buffer: what has arrived.
        start: of the block, in a HEADERS frame with END_HEADERS and no other flag.
        stop: its end.
        stream: of that frame.
        heads: blocks seen before, and what they say now.
    """
    end = len(buffer)
    head = heads.get(buffer[start:stop])
    if head is None or not head.grpc or head.http_status != HTTP_OK or end - stop < _DATA_BYTES:
        return None
    high, low, kind, flags, same, compressed, size = _unpack_data(buffer, stop)
    message = stop + _DATA_BYTES
    last = message + size
    if (
        kind != DATA
        or flags
        or same != stream
        or compressed
        or (high << 8 | low) != size + PREFIX_BYTES
        or size + PREFIX_BYTES > DEFAULT_FRAME_BYTES
        or end - last < HEADER_BYTES
    ):
        return None
    high, low, kind, flags, same = unpack_header(buffer, last)
    after = last + HEADER_BYTES + (high << 8 | low)
    if kind != HEADERS or flags != _LAST_FLAGS or same != stream or after > end:
        return None
    trailers = heads.get(buffer[last + HEADER_BYTES : after])
    if trailers is None or trailers.grpc_status != 0:
        return None
    return buffer[message:last], after
