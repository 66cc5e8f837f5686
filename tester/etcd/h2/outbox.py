"""The sending side of one connection: calls wait here, and leave in one write per turn of the event loop.

What may leave is decided by the peer (concurrent streams, windows of connection and stream, frame size) and
by the transport (its buffer). A call that may not leave yet stays whole and unsent for as long as possible:
only what was handed to the transport is in doubt when the connection is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from tester.etcd.h2 import frames
from tester.etcd.h2.calls import PREFIX_BYTES
from tester.etcd.h2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ErrorCode,
    ProtocolError,
    pack_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tester.etcd.h2.calls import Call

# Control frames answer the peer, and leave even while the transport's buffer is full. A peer that makes us
# answer and never reads is cut off here.
_MAX_BUFFERED_BYTES = 4 * 1024 * 1024

# Handed to the transport in pieces of about this size, so that it can say stop in between.
_WRITE_BYTES = 64 * 1024

# A frame header as ``pack_header`` has it, then the flag and the length before a message.
_pack_data = Struct(">LBLBL").pack

# Streams are numbered upwards and never reused; a connection that comes near the end takes no more calls.
LAST_STREAM = frames.MAX_STREAM - 2


class Outbox:
    """Starts calls in order. ``streams`` are the calls that were sent and have not ended, by stream."""

    def __init__(self, before_send: Callable[[], None] | None) -> None:
        self.streams: dict[int, Call] = {}
        self.last_stream = -1
        self._loop = asyncio.get_running_loop()
        self._before_send = before_send
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Call] = deque()
        self._unfinished: dict[int, _Body] = {}
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._scheduled = False
        self._paused = False
        self._window = frames.DEFAULT_WINDOW
        self._initial_window = frames.DEFAULT_WINDOW
        self._frame_bytes = frames.DEFAULT_FRAME_BYTES
        self._max_streams = frames.MAX_STREAM
        self._whole_bytes = min(self._initial_window, self._frame_bytes)
        """Requests up to this size need one frame, and no window of their own."""

    # --- what goes out --------------------------------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """From now on frames have somewhere to go."""
        self._transport = transport

    def submit(self, call: Call) -> None:
        """Send the call as soon as that is allowed, at the end of this turn of the loop at the earliest."""
        self._queue.append(call)
        if not self._scheduled:
            self._schedule()

    def control(self, frame: bytes) -> None:
        """Send a control frame at the end of this turn."""
        self._out.append(frame)
        if not self._scheduled:
            self._schedule()

    def take_unsent(self) -> list[Call]:
        """Give back the calls of which nothing was sent."""
        unsent = list(self._queue)
        self._queue.clear()
        return unsent

    def forget(self, stream: int) -> bool:
        """The stream has ended; true if part of its request has not been sent, and now never will be."""
        self.streams.pop(stream, None)
        if self._queue and not self._scheduled:
            self._schedule()  # its place is free
        return bool(self._unfinished) and self._unfinished.pop(stream, None) is not None

    def in_flight(self) -> Iterator[Call]:
        """Every call that was submitted and has not ended; of those not sent yet also some that have."""
        yield from self.streams.values()
        yield from self._queue

    def flush(self) -> None:
        """Write everything that may leave."""
        self._scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
            self._out.clear()
            return
        for body in tuple(self._unfinished.values()):
            self._continue(body, transport)
        if self._queue and not self._paused:
            self._start_calls(transport)
        self._write(transport)
        if self._paused and transport.get_write_buffer_size() > _MAX_BUFFERED_BYTES:
            transport.abort()

    def _write(self, transport: asyncio.Transport) -> None:
        """Hand over what is collected; the transport says at once (``pause``) if its buffer is full now."""
        if self._out:
            transport.write(b"".join(self._out))
            self._out.clear()
            self._out_bytes = 0

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self.flush)

    def _start_calls(self, transport: asyncio.Transport) -> None:
        # Whoever records invocations writes them to disk before the first request of this turn leaves.
        if self._before_send is not None:
            self._before_send()
        queue, streams, out = self._queue, self.streams, self._out
        while (
            queue and len(streams) < self._max_streams and not self._paused and self.last_stream < LAST_STREAM
        ):
            call = queue[0]
            request = call.request
            size = len(request) + PREFIX_BYTES
            if call.future.done():  # cancelled, or too late, while it waited
                queue.popleft()
                continue
            whole = size <= self._whole_bytes and size <= self._window
            # Begin only what can leave whole or with a full frame, unless nothing else would ever move.
            if not whole and self._window < (min(size, self._frame_bytes) if streams else 1):
                return
            queue.popleft()
            self.last_stream = stream = self.last_stream + 2
            call.stream = stream
            streams[stream] = call
            block = call.block
            out.append(pack_header(len(block) << 8 | HEADERS, END_HEADERS, stream) + block)
            if whole:
                self._window -= size
                self._out_bytes += size
                out.append(_pack_data(size << 8 | DATA, END_STREAM, stream, 0, size - PREFIX_BYTES) + request)
            else:
                unfinished = self._unfinished[stream] = _Body(stream, call.body, self._initial_window)
                self._continue(unfinished, transport)
            if self._out_bytes > _WRITE_BYTES:
                self._write(transport)

    def _continue(self, body: _Body, transport: asyncio.Transport) -> None:
        """Send as much of a large request as both windows and the transport allow."""
        while self._window > 0 and body.window > 0 and not self._paused:
            size = min(self._window, body.window, self._frame_bytes, len(body.data) - body.at)
            chunk = body.data[body.at : body.at + size]
            body.at += size
            body.window -= size
            self._window -= size
            last = body.at == len(body.data)
            self._out.append(frames.frame(frames.DATA, frames.END_STREAM if last else 0, body.stream, chunk))
            self._out_bytes += size
            if self._out_bytes > _WRITE_BYTES:
                self._write(transport)
            if last:
                del self._unfinished[body.stream]
                return

    # --- what the peer and the transport allow --------------------------------------------------------------

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume(self) -> None:
        """The transport's buffer has room again."""
        self._paused = False
        if not self._scheduled:
            self._schedule()

    def settings(self, values: dict[int, int]) -> None:
        """The peer's SETTINGS.

        Raises:
            ProtocolError: a window would overflow.
        """
        self._frame_bytes = values.get(frames.Setting.MAX_FRAME_SIZE, self._frame_bytes)
        self._max_streams = values.get(frames.Setting.MAX_CONCURRENT_STREAMS, self._max_streams)
        initial = values.get(frames.Setting.INITIAL_WINDOW_SIZE, self._initial_window)
        for body in self._unfinished.values():
            body.window += initial - self._initial_window  # may become negative: RFC 9113, 6.9.2
            if body.window > frames.MAX_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS overflow the window of a stream")
        self._initial_window = initial
        self._whole_bytes = min(initial, self._frame_bytes)
        self.control(frames.SETTINGS_ACK)

    def widen(self, stream: int, increment: int) -> None:
        """WINDOW_UPDATE of the connection (0) or a stream.

        Raises:
            ProtocolError: the increment is 0 or the window overflows.
        """
        if increment == 0:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        if stream == 0:
            self._window += increment
            window = self._window
        else:
            body = self._unfinished.get(stream)
            if body is None:
                return  # its request is sent whole: nobody needs the window any more
            body.window += increment
            window = body.window
        if window > frames.MAX_WINDOW:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows a window")
        if (self._queue or self._unfinished) and not self._scheduled:
            self._schedule()


class _Body:
    """A request too large to leave at once."""

    __slots__ = ("at", "data", "stream", "window")

    def __init__(self, stream: int, data: bytes, window: int) -> None:
        self.stream = stream
        self.data = data
        self.at = 0
        self.window = window
