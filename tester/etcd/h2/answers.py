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
    unpack_header,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from tester.etcd.h2.headers import Head

WholeAnswer: TypeAlias = "tuple[bytes, int]"
"""The message, and where in the buffer the answer ends."""

# A frame header as ``unpack_header`` has it, then the flag and the length before a message.
_unpack_data = Struct(">LBLBL").unpack_from
_DATA_BYTES = HEADER_BYTES + PREFIX_BYTES
_LARGEST_MESSAGE = DEFAULT_FRAME_BYTES - PREFIX_BYTES
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
    head = heads.get(buffer[start:stop])
    message = stop + _DATA_BYTES
    end = len(buffer)
    if head is None or not head.opens or message > end:
        return None
    word, flags, same, compressed, size = _unpack_data(buffer, stop)
    if (
        word != (size + PREFIX_BYTES) << 8 | DATA
        or flags
        or compressed
        or same != stream
        or size > _LARGEST_MESSAGE
    ):
        return None
    last = message + size
    block = last + HEADER_BYTES
    if block > end:
        return None
    word, flags, same = unpack_header(buffer, last)
    after = block + (word >> 8)
    if word & 0xFF != HEADERS or flags != _LAST_FLAGS or same != stream or after > end:
        return None
    trailers = heads.get(buffer[block:after])
    if trailers is None or trailers.grpc_status != 0:
        return None
    return buffer[message:last], after
