"""The parts that need no server."""

from __future__ import annotations

import asyncio
from random import Random

import hpack
import pytest

from tester.etcd.channel import Method
from tester.etcd.h2 import frames
from tester.etcd.h2.calls import Call
from tester.etcd.h2.deadlines import Deadlines
from tester.etcd.h2.frames import ProtocolError
from tester.etcd.h2.headers import RequestHeaders, ResponseHeaders, _integer
from tester.etcd.h2.keepalive import Keepalive


def test_integers_as_the_rfc_has_them() -> None:
    assert _integer(10, 5) == b"\x0a"
    assert _integer(1337, 5) == b"\x1f\x9a\x0a"
    assert _integer(42, 8) == b"\x2a"
    for value in (0, 14, 15, 16, 127, 128, 142, 16_383, 2**20):
        assert hpack.hpack.decode_integer(_integer(value, 4), 4)[0] == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.0, b"5000m"), (0.0001, b"1m"), (0.0, b"1m"), (1.2345, b"1235m"), (1e9, b"99999999m")],
)
def test_timeouts_are_rounded_up(seconds: float, text: bytes) -> None:
    block = RequestHeaders("127.0.0.1:2379", tls=False, token=None).block(Method.RANGE, seconds)
    assert dict(hpack.Decoder().decode(block, raw=True))[b"grpc-timeout"] == text


def test_request_blocks_suit_a_peer_that_allows_no_table() -> None:
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 0
    headers = RequestHeaders("[::1]:2379", tls=True, token="t" * 3000)
    for method in Method:
        fields = dict(decoder.decode(headers.block(method, 5.0), raw=True))
        assert (fields[b":path"], fields[b"token"]) == (method.value.encode(), b"t" * 3000)
        assert headers.block(method, 5.0) is headers.block(method, 5.0)
    with pytest.raises(ValueError, match="too long"):
        RequestHeaders("[::1]:2379", tls=True, token="t" * 20_000)


def test_remembered_blocks_never_outlive_the_table_they_refer_to() -> None:
    """Random blocks, many of them repeated byte for byte, against a decoder that remembers nothing."""
    random = Random(7)
    encoder, plain, ours = hpack.Encoder(), hpack.Decoder(), ResponseHeaders()
    remembered = 0
    for _ in range(3000):
        if random.random() < 0.01:
            encoder.header_table_size = random.choice((0, 64, 200, 4096))
        fields = [(":status", "200"), ("content-type", "application/grpc")]
        fields.append(("grpc-status", str(random.randrange(17))))
        fields.append(("grpc-message", random.choice("abcdef") * random.choice((1, 1, 1, 40))))
        block = encoder.encode(fields)
        expected = dict(plain.decode(block, raw=True))
        remembered += block in ours.known
        head = ours.decode(block)
        assert head.grpc_status == int(expected[b"grpc-status"])
        assert head.grpc_message == expected[b"grpc-message"]
        assert (head.http_status, head.grpc) == (200, True)
    assert remembered > 200


def test_the_same_field_added_again_shifts_what_follows() -> None:
    """In a full table that pushes another field out: as many entries, the same first one, another meaning."""
    ours = ResponseHeaders()
    room_for_both = b"\x3f\x2f"  # 34 and 44 bytes
    add = b"\x40\x01a\x01b"
    ours.decode(room_for_both + b"\x40\x0bgrpc-status\x015" + add)
    second_entry = b"\xbf"
    assert ours.decode(second_entry).grpc_status == 5
    ours.decode(add)
    assert ours.decode(second_entry).grpc_status is None


@pytest.mark.parametrize(
    "block", [b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x80", b"\xfe", b"\x40\x7f", b"\x3f\xff\xff\x7f"]
)
def test_malformed_blocks(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseHeaders().decode(block)


@pytest.mark.parametrize(
    ("value", "status"), [("0", 0), ("16", 16), ("x", -1), ("-1", -1), ("", -1), ("9" * 5000, -1)]
)
def test_status_numbers(value: str, status: int) -> None:
    assert ResponseHeaders().decode(hpack.Encoder().encode([("grpc-status", value)])).grpc_status == status


def test_settings_out_of_range() -> None:
    assert frames.parse_settings(b"\0\x04\0\0\0\1" + b"\xff\xff\0\0\0\2") == {4: 1, 0xFFFF: 2}
    for bad in (b"\0\4\0\0\0", b"\0\4\x80\0\0\0", b"\0\5\0\0\0\1", b"\0\5\1\0\0\0"):
        with pytest.raises(ProtocolError):
            frames.parse_settings(bad)


def test_content_without_padding_and_priority() -> None:
    assert frames.content(frames.PADDED, b"\x02ab\0\0") == b"ab"
    assert frames.content(frames.PADDED | frames.PRIORITIZED, b"\x01\0\0\0\0\x10ab\0") == b"ab"
    assert frames.content(frames.PADDED, b"\x00") == b""
    for flags, bad in ((frames.PADDED, b""), (frames.PADDED, b"\x02a"), (frames.PRIORITIZED, b"abcd")):
        with pytest.raises(ProtocolError):
            frames.content(flags, bad)


def ticks(keepalive: Keepalive, number: int, *, busy: bool = True) -> list[int]:
    """The ticks (from 1) at which a ping was due."""
    return [tick for tick in range(1, number + 1) if keepalive.tick(busy=busy)]


def test_no_ping_while_idle_however_long() -> None:
    assert ticks(Keepalive(), 1000, busy=False) == []


def test_a_ping_after_a_second_of_silence_and_lost_after_another() -> None:
    keepalive = Keepalive()
    assert ticks(keepalive, 4) == [4]
    assert ticks(keepalive, 3) == []
    assert not keepalive.lost
    keepalive.tick(busy=True)
    assert keepalive.lost


def test_whatever_arrives_is_a_sign_of_life() -> None:
    keepalive = Keepalive()
    for _ in range(100):
        assert ticks(keepalive, 3) == []
        keepalive.heard()


def test_pings_that_are_answered_while_calls_are_not_become_rare() -> None:
    keepalive, due = Keepalive(), []
    for tick in range(1, 101):
        if keepalive.tick(busy=True):
            due.append(tick)
            keepalive.heard()
    assert due == [4, 8, 29, 50, 71, 92]
    keepalive.answered()
    keepalive.heard()
    assert ticks(keepalive, 4) == [4]


async def test_deadlines_with_one_timer() -> None:
    loop = asyncio.get_running_loop()
    expired: list[Call] = []
    random, calls = Random(3), list[Call]()

    def expire(call: Call) -> None:
        expired.append(call)
        call.future.cancel()

    def begin(seconds: float) -> Call:
        call = Call(b"", b"", loop.time() + seconds, loop.create_future())
        calls.append(call)
        deadlines.watch(call.deadline)
        return call

    deadlines = Deadlines(lambda: calls, expire)
    many = [begin(random.uniform(0, 0.1)) for _ in range(500)]
    for call in many[::3]:
        call.succeed(b"")
    await asyncio.sleep(0.2)
    assert set(expired) == set(many) - set(many[::3])
    late, soon = begin(60), begin(0.01)
    await asyncio.sleep(0.1)
    assert expired[-1] is soon
    assert not late.future.done()
    deadlines.close()
