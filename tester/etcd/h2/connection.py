"""One connection to one member: what arrives, and what it means for the calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.h2 import frames, status
from tester.etcd.h2.answers import whole_answer
from tester.etcd.h2.calls import PREFIX_BYTES
from tester.etcd.h2.frames import END_STREAM, PADDED, ErrorCode, ProtocolError
from tester.etcd.h2.headers import ResponseHeaders
from tester.etcd.h2.keepalive import TICK_SECONDS, Keepalive
from tester.etcd.h2.outbox import LAST_STREAM, Outbox
from tester.etcd.h2.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.etcd.h2.calls import Call
    from tester.etcd.h2.headers import Head

_STREAM_WINDOW = 1024 * 1024
_CONNECTION_WINDOW = 16 * 1024 * 1024
_UNACKED_BYTES = _CONNECTION_WINDOW // 2
_WRITE_BUFFER_BYTES = 256 * 1024
_LINGER_SECONDS = 1.0
_PING = frames.frame(frames.PING, 0, 0, b"chaos\x00\x00\x00")
_GREETING = (
    frames.PREFACE
    + frames.settings({frames.Setting.ENABLE_PUSH: 0, frames.Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW})
    + frames.window_update(0, _CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
)


class Connection(asyncio.Protocol):
    """Ready when the peer's first SETTINGS have arrived; then calls may be submitted until it is ``leaving``.

    Every submitted call ends: with its answer, or with an error when the stream or the connection ends.
    Deadlines are the channel's business: it calls ``abandon``.
    """

    def __init__(
        self, before_send: Callable[[], None] | None, on_leaving: Callable[[Connection], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_leaving = on_leaving
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.leaving = False
        """Takes no new calls: the peer said GOAWAY, or the connection is lost."""
        self._outbox = Outbox(before_send)
        self._streams = self._outbox.streams
        self.submit = self._outbox.submit
        """Sends a call at the end of this turn of the loop."""
        self.in_flight = self._outbox.in_flight
        self._transport: asyncio.Transport | None = None
        self._headers = ResponseHeaders()
        self._keepalive = Keepalive()
        self._timer: asyncio.TimerHandle | None = None
        self._unacked = 0
        """Bytes received for which the peer got no new window yet."""
        self._reason = "the member closed the connection"
        self._reader = FrameReader(
            {
                frames.DATA: self._on_data,
                frames.HEADERS: self._on_headers,
                frames.RST_STREAM: self._on_rst_stream,
                frames.SETTINGS: self._on_settings,
                frames.PUSH_PROMISE: self._on_push_promise,
                frames.PING: self._on_ping,
                frames.GOAWAY: self._on_goaway,
                frames.WINDOW_UPDATE: self._on_window_update,
            },
            self._take_answer,
        )

    # --- for the channel ----------------------------------------------------------------------------------

    def abandon(self, call: Call) -> None:
        """The caller no longer waits: tell the member, if it knows of the call and has not ended it."""
        if self._streams.get(call.stream) is call:
            self._end(call, ErrorCode.CANCEL)

    def close(self, reason: str, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Say GOAWAY and close; whatever is in flight is lost."""
        self._fail_all(reason)
        if self._transport is not None and not self._transport.is_closing():
            self._outbox.control(frames.goaway(code))
            self._hang_up()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._transport.write(_GREETING)
        self._outbox.attach(self._transport)
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is left."""
        self._fail_all(f"connection lost: {error}" if error is not None else self._reason)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        self._outbox.resume()

    def data_received(self, data: bytes) -> None:
        """Take the frames in."""
        self._keepalive.heard()
        try:
            self._reader.feed(data)
        except ProtocolError as error:
            self.close(f"the member broke the protocol: {error}", error.code)

    # --- frames of a call ---------------------------------------------------------------------------------

    def _take_answer(self, buffer: bytes, start: int, stop: int, stream: int) -> int:
        call = self._streams.get(stream)
        if call is None or call.head is not None:
            return 0
        answer = whole_answer(buffer, start, stop, stream, self._headers.known)
        if answer is None:
            return 0
        message, after = answer
        self._unacked += len(message) + PREFIX_BYTES
        if self._unacked > _UNACKED_BYTES:
            self._renew_window()
        self._keepalive.answered()
        call.succeed(message)
        self._end(call, ErrorCode.CANCEL, ended_by_peer=True)
        return after

    def _renew_window(self) -> None:
        self._outbox.control(frames.window_update(0, self._unacked))
        self._unacked = 0

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._unacked += size
        if self._unacked > _UNACKED_BYTES:
            self._renew_window()
        if flags & PADDED:
            payload = frames.content(PADDED, payload)
        call = self._streams.get(stream)
        if call is None:
            self._check_known(stream)
        elif call.head is None:
            self._reject(call, "data before headers")
        elif payload and (error := call.add(payload)) is not None:
            call.fail(error)
            self._end(call, ErrorCode.CANCEL)
        elif flags & END_STREAM:
            self._reject(call, "an answer without trailers")
        else:
            call.unacked += size
            if call.unacked > _STREAM_WINDOW // 2:
                self._outbox.control(frames.window_update(stream, call.unacked))
                call.unacked = 0

    def _on_headers(self, flags: int, stream: int, block: bytes) -> None:
        head = self._headers.decode(block)  # also of a call that is over: the table must not miss a block
        call = self._streams.get(stream)
        if call is None:
            self._check_known(stream)
        elif flags & END_STREAM:
            self._keepalive.answered()
            call.finish(head)
            self._end(call, ErrorCode.CANCEL, ended_by_peer=True)
        elif call.head is None:
            self._on_first_head(call, head)
        else:
            self._reject(call, "headers amid the answer")

    def _on_first_head(self, call: Call, head: Head) -> None:
        if head.informational:
            return
        call.head = head
        if not head.opens:
            call.fail(status.from_http(head.http_status or 0))
            self._end(call, ErrorCode.CANCEL)

    def _on_rst_stream(self, _flags: int, stream: int, payload: bytes) -> None:
        _expect_size(payload, 4, "RST_STREAM")
        call = self._streams.get(stream)
        if call is None:
            self._check_known(stream)
            return
        late = call.deadline <= self._loop.time()
        call.fail(status.deadline_exceeded(sent=True) if late else status.reset(int.from_bytes(payload)))
        self._end(call, ErrorCode.CANCEL, ended_by_peer=True)

    def _check_known(self, stream: int) -> None:
        """A stream that is over is fine: its frames crossed our reset. One that never was is not."""
        if stream % 2 == 0 or stream > self._outbox.last_stream:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"frame on stream {stream}, which nobody opened")

    # --- frames of the connection -------------------------------------------------------------------------

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            _expect_size(payload, 0, "SETTINGS acknowledgement")
            return
        self._outbox.settings(frames.parse_settings(payload))
        if not self.ready.done():
            self.ready.set_result(None)

    def _on_push_promise(self, _flags: int, _stream: int, _payload: bytes) -> None:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE although push is off")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        _expect_size(payload, 8, "PING")
        if stream:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if not flags & frames.ACK:
            self._outbox.control(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        _expect_size(payload, 4, "WINDOW_UPDATE")
        self._outbox.widen(stream, int.from_bytes(payload) & frames.MAX_WINDOW)

    def _on_goaway(self, _flags: int, stream: int, payload: bytes) -> None:
        goaway = frames.parse_goaway(stream, payload)
        self._reason = f"the member said GOAWAY ({goaway.why}) and closed the connection"
        self._leave(f"the member said GOAWAY ({goaway.why})")
        for number in [number for number in self._streams if number > goaway.last_stream]:
            call = self._streams[number]
            call.fail(status.not_processed(f"the member said GOAWAY ({goaway.why}) before it saw the call"))
            self._end(call, ErrorCode.CANCEL, ended_by_peer=True)
        self._hang_up_if_done()

    # --- ends ---------------------------------------------------------------------------------------------

    def _reject(self, call: Call, text: str) -> None:
        call.fail(RpcError(StatusCode.INTERNAL, f"the member sent {text}"))
        self._end(call, ErrorCode.PROTOCOL_ERROR)

    def _end(self, call: Call, code: ErrorCode, *, ended_by_peer: bool = False) -> None:
        """The stream is over; the peer is told unless it ended the stream and has the whole request."""
        half_sent = self._outbox.forget(call.stream)
        if half_sent or not ended_by_peer:
            self._outbox.control(frames.rst_stream(call.stream, code))
        if self.leaving:
            self._hang_up_if_done()
        elif self._outbox.last_stream >= LAST_STREAM:
            self._leave("the connection has no stream numbers left")

    def _leave(self, reason: str) -> None:
        """Take no more calls; give up those that still wait to be sent."""
        if not self.leaving:
            self.leaving = True
            self._on_leaving(self)
        for call in self._outbox.take_unsent():
            call.fail(status.not_sent(reason))

    def _fail_all(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
            self.ready.exception()  # if nobody waits for it any more, it is no news
        for call in tuple(self._streams.values()):
            call.fail(status.lost(reason))
            self._outbox.forget(call.stream)
        self._leave(reason)

    def _hang_up_if_done(self) -> None:
        if not self._streams:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close the transport once what is written has left, or after a second if it cannot leave."""
        if self._transport is not None and not self._transport.is_closing():
            self._outbox.flush()
            self._transport.close()
            self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def _tick(self) -> None:
        if self._keepalive.tick(busy=bool(self._streams)):
            self._outbox.control(_PING)
        if self._keepalive.lost:
            self.close("no sign of life from the member for a second, not even an answer to PING")
        else:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)


def _expect_size(payload: bytes, size: int, what: str) -> None:
    if len(payload) != size:
        raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"{what} of a wrong length")
