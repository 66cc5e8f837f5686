"""Whatever a peer sends: no exception leaves the connection, no call is left without an end."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import hpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tester.etcd.channel import Method
from tester.etcd.errors import RpcError
from tester.etcd.h2 import frames
from tester.etcd.h2.calls import Call
from tester.etcd.h2.connection import Connection
from tester.etcd.h2.headers import Head, RequestHeaders

if TYPE_CHECKING:
    import pytest

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CALLS = 3


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close


async def converse(chunks: list[bytes]) -> list[bytes | str]:
    """Feed the chunks to a connection with calls in flight; how each call ended."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    connection, transport = Connection(None, lambda _: None), FakeTransport()
    connection.connection_made(transport)
    block = RequestHeaders("127.0.0.1:1", tls=False, token=None).block(Method.PUT, 5.0)
    calls = [
        Call(block, b"x" * 40_000 * number, loop.time() + 5, loop.create_future()) for number in range(CALLS)
    ]
    for call in calls:
        connection.submit(call)
    await asyncio.sleep(0)
    for chunk in chunks:
        if not transport.closing:
            connection.data_received(chunk)
            await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert not errors
    assert connection.closed.done()
    ends: list[bytes | str] = []
    for call in calls:
        assert call.future.done()
        error = call.future.exception()
        assert error is None or isinstance(error, RpcError)
        ends.append(call.future.result() if error is None else f"{type(error).__name__} {error}")
    return ends


STREAMS = st.sampled_from((0, 1, 1, 3, 3, 5, 5, 2, 7, 2**31 - 1))
ENCODED = st.lists(
    st.tuples(
        st.sampled_from((":status", "content-type", "grpc-status", "grpc-message", "x")),
        st.sampled_from(("200", "404", "103", "application/grpc", "0", "5", "x" * 50)),
    ),
    max_size=5,
).map(lambda fields: hpack.Encoder().encode(fields))
GOOD_HEAD = hpack.Encoder().encode([(":status", "200"), ("content-type", "application/grpc")])
GOOD_TRAILERS = b"\x00\x0bgrpc-status\x010"
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    ENCODED,
    st.sampled_from((b"", GOOD_HEAD, GOOD_TRAILERS, b"\0\0\0\0\3abc", bytes(4), b"\0\0\x10\0", bytes(8))),
)
FRAMES = st.builds(
    frames.frame,
    st.integers(0, 11),
    st.sampled_from((0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x24, 0x25, 0xFF)),
    STREAMS,
    PAYLOADS,
)
GREETING = frames.settings({})


@QUICK
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_noise(chunks: list[bytes]) -> None:
    asyncio.run(converse(chunks))


@QUICK
@given(sent=st.lists(FRAMES, max_size=25), together=st.booleans())
def test_frames_in_any_order(sent: list[bytes], *, together: bool) -> None:
    chunks = [GREETING, *sent]
    asyncio.run(converse([b"".join(chunks)] if together else chunks))


CONVERSATION = b"".join(
    (
        GREETING,
        frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 100_000}),
        frames.window_update(0, 100_000),
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, GOOD_HEAD),
        frames.frame(frames.PING, 0, 0, b"12345678"),
        frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\3abc"),
        frames.frame(frames.HEADERS, 0, 3, GOOD_HEAD[:3]),
        frames.frame(frames.CONTINUATION, 0, 3, GOOD_HEAD[3:5]),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, 3, GOOD_HEAD[5:]),
        frames.frame(frames.DATA, frames.PADDED, 3, b"\x03\0\0\0\0\5he\0\0\0"),
        frames.frame(0xEE, 0xFF, 77, b"an unknown kind"),
        frames.frame(frames.PRIORITY, 0, 9, bytes(5)),
        frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, GOOD_TRAILERS),
        frames.frame(frames.DATA, 0, 3, b"llo"),
        frames.frame(frames.RST_STREAM, 0, 5, bytes((0, 0, 0, 7))),
        frames.frame(
            frames.HEADERS,
            frames.END_HEADERS | frames.END_STREAM | frames.PADDED | frames.PRIORITIZED,
            3,
            b"\x02" + bytes(5) + GOOD_TRAILERS + bytes(2),
        ),
    )
)
ENDS = [b"abc", b"hello", "NotProcessedError UNAVAILABLE: the member reset the stream: REFUSED_STREAM"]


def test_the_conversation_as_it_is() -> None:
    assert asyncio.run(converse([CONVERSATION])) == ENDS
    assert asyncio.run(converse([bytes((byte,)) for byte in CONVERSATION])) == ENDS


@QUICK
@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=12))
def test_where_the_stream_is_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    chunks = [CONVERSATION[a:b] for a, b in pairwise(edges)]
    assert asyncio.run(converse(chunks)) == ENDS


def answer(stream: int, head: bytes, message: bytes, trailers: bytes) -> bytes:
    return b"".join(
        (
            frames.frame(frames.HEADERS, frames.END_HEADERS, stream, head),
            frames.frame(frames.DATA, 0, stream, b"\0" + len(message).to_bytes(4) + message),
            frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, trailers),
        )
    )


# Blocks that leave the table as it is: from the second answer on they are known, and answers are taken whole.
USUAL = GREETING + b"".join(
    answer(stream, b"\x88\x0f\x10\x10application/grpc", b"abc" * stream, GOOD_TRAILERS)
    for stream in (1, 3, 5)
)
USUAL_ENDS = [b"abc", b"abc" * 3, b"abc" * 5]


async def test_usual_answers_are_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def frame_by_frame(call: Call, trailers: Head) -> None:
        ended.append(call.stream)
        finish(call, trailers)

    ended: list[int] = []
    finish = Call.finish
    monkeypatch.setattr(Call, "finish", frame_by_frame)
    update = frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 100_000}) + frames.window_update(0, 100_000)
    assert await converse([GREETING + update, USUAL]) == USUAL_ENDS
    assert ended == [1]


@QUICK
@given(st.lists(st.integers(0, len(USUAL)), max_size=12))
def test_where_usual_answers_are_cut_makes_no_difference(cuts: list[int]) -> None:
    update = frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 100_000}) + frames.window_update(0, 100_000)
    edges = [0, *sorted(cuts), len(USUAL)]
    assert asyncio.run(converse([GREETING + update, *(USUAL[a:b] for a, b in pairwise(edges))])) == USUAL_ENDS


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, len(USUAL) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(USUAL)),
)
def test_damage_to_usual_answers_ends_alike_whole_or_frame_by_frame(
    damage: list[tuple[int, int]], cut: int
) -> None:
    """The same bytes in one piece, in two, and one by one: a byte alone never holds a whole answer."""
    data = bytearray(USUAL)
    for place, value in damage:
        data[place] = value
    whole = asyncio.run(converse([bytes(data)]))
    assert whole == asyncio.run(converse([bytes(data[:cut]), bytes(data[cut:])]))
    assert whole == asyncio.run(converse([bytes((byte,)) for byte in data]))


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, len(CONVERSATION) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(CONVERSATION)),
)
def test_a_damaged_conversation(damage: list[tuple[int, int]], length: int) -> None:
    data = bytearray(CONVERSATION)
    for place, value in damage:
        data[place] = value
    asyncio.run(converse([bytes(data[:length]), bytes(data[length:])]))
