"""The channel against a server that follows the RFC, whatever that server chooses to do within it."""

from __future__ import annotations

import asyncio
import time

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from tester.etcd.channel import Method
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.h2 import H2Channel, channel, connection
from tests.unit.h2.fakeserver import Request, Running, Script, Server, running

LONG = 30.0


async def ask(run: Running, payload: bytes = b"hello", timeout: float = LONG) -> bytes:
    return await run.channel.call(Method.PUT, payload, timeout)


async def error_of(run: Running, payload: bytes = b"hello", timeout: float = LONG) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await ask(run, payload, timeout)
    return caught.value


async def until(condition: object) -> None:
    """Wait, bounded, until the callable is true."""
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)


def silent(_server: Server, _request: Request) -> None:
    """Never answer."""


async def test_a_call_and_its_headers() -> None:
    async with running(token="secret") as run:
        assert await ask(run, b"payload", 2.5) == b"payload"
        assert await ask(run, b"", 2.5) == b""
        [server] = run.accepted
        assert server.requests[1].headers == {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/etcdserverpb.KV/Put",
            ":authority": run.endpoint.authority,
            "content-type": "application/grpc",
            "te": "trailers",
            "user-agent": "etcd-chaos",
            "token": "secret",
            "grpc-timeout": "2500m",
        }


async def test_many_at_once_share_one_connection() -> None:
    async with running() as run:
        answers = await asyncio.gather(*(ask(run, b"%d" % number) for number in range(500)))
        assert answers == [b"%d" % number for number in range(500)]
        assert len(run.accepted) == 1


@pytest.mark.parametrize("trailers_only", [True, False])
async def test_an_error_of_the_member(*, trailers_only: bool) -> None:
    def refuse(server: Server, request: Request) -> None:
        if trailers_only:
            server.fail(request.stream, 11, "etcdserver: gr%C3%B6%C3%9Fer 100% of %zz%FF")
        else:
            server.respond(request.stream, b"partial", 11, "etcdserver: gr%C3%B6%C3%9Fer 100% of %zz%FF")

    async with running(Script(on_request=refuse)) as run:
        error = await error_of(run)
        assert error.code is StatusCode.OUT_OF_RANGE
        assert error.text == "etcdserver: größer 100% of %zz\ufffd"


@pytest.mark.parametrize("number", [*range(1, 17), 17, 99])
async def test_every_status_number(number: int) -> None:
    async with running(Script(on_request=lambda s, r: s.fail(r.stream, number, "text"))) as run:
        expected = list(StatusCode)[number - 1] if number <= 16 else StatusCode.UNKNOWN
        assert (await error_of(run)).code is expected


@pytest.mark.parametrize(
    ("code", "expected", "definite"),
    [
        (ErrorCodes.REFUSED_STREAM, StatusCode.UNAVAILABLE, True),
        (ErrorCodes.CANCEL, StatusCode.CANCELLED, False),
        (ErrorCodes.ENHANCE_YOUR_CALM, StatusCode.RESOURCE_EXHAUSTED, False),
        (ErrorCodes.INTERNAL_ERROR, StatusCode.INTERNAL, False),
        (ErrorCodes.NO_ERROR, StatusCode.INTERNAL, False),
        (4711, StatusCode.UNKNOWN, False),
    ],
)
async def test_a_reset_stream(code: int, expected: StatusCode, *, definite: bool) -> None:
    def reset(server: Server, request: Request) -> None:
        server.h2.reset_stream(request.stream, code)
        server.flush()

    async with running(Script(on_request=reset)) as run:
        error = await error_of(run)
        assert (error.code, error.definite) == (expected, definite)


@pytest.mark.parametrize(
    ("http", "expected"), [("404", "UNIMPLEMENTED"), ("503", "UNAVAILABLE"), ("500", "UNKNOWN")]
)
@pytest.mark.parametrize("end", [True, False])
async def test_something_that_is_no_grpc(http: str, expected: str, *, end: bool) -> None:
    def page(server: Server, request: Request) -> None:
        server.h2.send_headers(
            request.stream, [(":status", http), ("content-type", "text/html")], end_stream=end
        )
        server.flush()

    async with running(Script(on_request=page)) as run:
        assert (await error_of(run)).code == expected


@pytest.mark.parametrize("flaw", ["no message", "short", "long", "compressed", "no trailers", "no status"])
async def test_a_malformed_answer_is_internal_and_spares_the_connection(flaw: str) -> None:
    def answer(server: Server, request: Request) -> None:
        if request.payload == b"sane":
            server.respond(request.stream, b"fine")
            return
        body = {"short": b"\0\0\0\0\5abc", "long": b"\0\0\0\0\1abc", "compressed": b"\1\0\0\0\1a"}.get(flaw)
        server.head(request.stream)
        if body is not None:
            server.h2.send_data(request.stream, body)
        if flaw == "no trailers":
            server.h2.send_data(request.stream, b"\0\0\0\0\1a", end_stream=True)
        elif flaw == "no status":
            server.h2.send_headers(request.stream, [("x", "y")], end_stream=True)
        else:
            server.trailers(request.stream)
        server.flush()

    async with running(Script(on_request=answer)) as run:
        error = await error_of(run)
        assert error.code is (StatusCode.UNKNOWN if flaw == "no status" else StatusCode.INTERNAL)
        assert not error.definite
        assert await ask(run, b"sane") == b"fine"
        assert len(run.accepted) == 1


async def test_an_interim_answer_is_skipped() -> None:
    def answer(server: Server, request: Request) -> None:
        server.h2.send_headers(request.stream, [(":status", "103"), ("link", "x")])
        server.respond(request.stream, b"real")

    async with running(Script(on_request=answer)) as run:
        assert await ask(run) == b"real"


async def test_header_blocks_stay_in_order_while_the_table_changes() -> None:
    def answer(server: Server, request: Request) -> None:
        number = int(request.payload)
        if number % 7 == 0:
            server.h2.encoder.header_table_size = (0, 128, 4096)[number % 3]
        server.fail(request.stream, 5, f"text {number % 5} {'x' * (number % 90)}.")

    async with running(Script(on_request=answer)) as run:
        for number in range(200):
            assert (await error_of(run, b"%d" % number)).text == f"text {number % 5} {'x' * (number % 90)}."


# --- flow control -----------------------------------------------------------------------------------------


async def test_a_large_request_waits_for_windows() -> None:
    payload = bytes(range(256)) * 4096
    script = Script(settings={SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    async with running(script) as run:
        assert await ask(run, b"small") == b"small"
        large, small = await asyncio.gather(
            run.channel.call(Method.PUT, payload[:200_000], LONG), ask(run, b"beside it")
        )
        assert (large, small) == (payload[:200_000], b"beside it")


async def test_the_peer_changes_its_initial_window_in_the_middle() -> None:
    changed = asyncio.Event()

    def shrink(server: Server, _request: Request) -> None:
        server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
        server.flush()
        changed.set()

    script = Script(
        settings={SettingCodes.INITIAL_WINDOW_SIZE: 20_000}, on_headers=shrink, update_windows=False
    )
    async with running(script) as run:
        call = asyncio.create_task(ask(run, b"x" * 50_000))
        await changed.wait()
        [server] = run.accepted
        await until(lambda: len(server.requests[1].body) >= 20_000)
        await asyncio.sleep(0.05)
        assert len(server.requests[1].body) == 20_000  # what left before is 19,990 more than is allowed now
        server.script.on_headers = None
        server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 60_000})
        server.flush()
        assert await call == b"x" * 50_000


async def test_a_full_connection_window_keeps_later_calls_whole_and_unsent() -> None:
    script = Script(
        update_windows=False, settings={SettingCodes.INITIAL_WINDOW_SIZE: 1_000_000}, on_request=silent
    )
    async with running(script) as run:
        first = asyncio.create_task(ask(run, b"x" * 200_000))
        await until(lambda: run.accepted and run.accepted[0].requests)
        second = asyncio.create_task(ask(run, b"never leaves"))
        await asyncio.sleep(0.05)
        run.accepted[0].transport.abort()
        with pytest.raises(RpcError) as in_doubt:
            await first
        with pytest.raises(RpcError) as surely:
            await second
        assert (in_doubt.value.code, in_doubt.value.definite) == (StatusCode.UNAVAILABLE, False)
        assert (surely.value.code, surely.value.definite) == (StatusCode.UNAVAILABLE, True)


async def test_an_answer_before_the_request_is_whole_ends_the_request() -> None:
    script = Script(
        {SettingCodes.INITIAL_WINDOW_SIZE: 1000},
        on_headers=lambda server, request: server.fail(request.stream, 7, "not you"),
        update_windows=False,
    )
    async with running(script) as run:
        error = await error_of(run, b"x" * 100_000)
        assert (error.code, error.text) == (StatusCode.PERMISSION_DENIED, "not you")
        [server] = run.accepted
        await until(lambda: server.resets == [(1, 8)])
        assert len(server.requests[1].body) == 1000


async def test_a_large_answer_gets_new_windows() -> None:
    payload = bytes(range(256)) * 4096 * 5  # 5 MiB, five times the window of a stream
    script = Script(on_request=lambda server, request: server.send_large(request.stream, payload))
    async with running(script) as run:
        assert await ask(run) == payload


async def test_windows_never_run_dry_over_many_answers() -> None:
    payload = b"x" * 300_000
    script = Script(on_request=lambda server, request: server.send_large(request.stream, payload))
    async with running(script) as run:
        for _ in range(6):
            answers = await asyncio.gather(*(ask(run) for _ in range(10)))  # 18 MB: the connection has 16 MiB
            assert all(answer == payload for answer in answers)


async def test_an_answer_that_announces_too_much_is_refused() -> None:
    def answer(server: Server, request: Request) -> None:
        server.head(request.stream)
        server.h2.send_data(request.stream, b"\0\xff\xff\xff\xffx")
        server.flush()

    async with running(Script(on_request=answer)) as run:
        assert (await error_of(run)).code is StatusCode.RESOURCE_EXHAUSTED
        await until(lambda: run.accepted[0].resets == [(1, 8)])


async def test_no_more_streams_at_once_than_the_peer_allows() -> None:
    async def slowly(server: Server, request: Request) -> None:
        await asyncio.sleep(0.002)
        server.respond(request.stream, request.payload)

    async with running(Script({SettingCodes.MAX_CONCURRENT_STREAMS: 3}, slowly)) as run:
        answers = await asyncio.gather(*(ask(run, b"%d" % number) for number in range(40)))
        assert answers == [b"%d" % number for number in range(40)]
        assert run.accepted[0].most_open == 3


# --- ends of calls ----------------------------------------------------------------------------------------


async def test_deadlines_end_calls_in_their_order_and_tell_the_member() -> None:
    async with running(Script(on_request=silent)) as run:
        ended: list[float] = []

        async def wait(timeout: float) -> None:
            error = await error_of(run, timeout=timeout)
            assert (error.code, error.definite) == (StatusCode.DEADLINE_EXCEEDED, False)
            ended.append(timeout)

        began = time.monotonic()
        await asyncio.gather(wait(0.3), wait(0.1), wait(0.2))
        assert ended == [0.1, 0.2, 0.3]
        assert time.monotonic() - began >= 0.3
        await until(lambda: len(run.accepted[0].resets) == 3)
        assert {code for _, code in run.accepted[0].resets} == {8}


async def test_a_deadline_before_anything_was_sent_is_definite() -> None:
    async with running(Script({SettingCodes.MAX_CONCURRENT_STREAMS: 1}, silent)) as run:
        first = asyncio.create_task(error_of(run))
        await until(lambda: run.accepted and run.accepted[0].requests)
        second = await error_of(run, timeout=0.2)
        assert (second.code, second.definite) == (StatusCode.DEADLINE_EXCEEDED, True)
        assert len(run.accepted[0].requests) == 1
        await run.channel.close()
        assert not (await first).definite


async def test_a_cancelled_call_is_reset_and_its_late_answer_is_nobodys() -> None:
    release = asyncio.Event()

    async def late(server: Server, request: Request) -> None:
        if request.payload == b"slow":
            await release.wait()
        server.respond(request.stream, request.payload, text="a field for the header table")

    script = Script(on_request=late)
    async with running(script) as run:
        call = asyncio.create_task(ask(run, b"slow"))
        await until(lambda: run.accepted and run.accepted[0].requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ask(run, b"next") == b"next"
        [server] = run.accepted
        assert server.resets == [(1, 8)]


async def test_a_lost_connection_leaves_calls_in_doubt_and_the_next_call_makes_a_new_one() -> None:
    script = Script(on_request=silent)
    async with running(script) as run:
        calls = [asyncio.create_task(error_of(run)) for _ in range(5)]
        await until(lambda: run.accepted and len(run.accepted[0].requests) == 5)
        run.accepted[0].transport.abort()
        for call in calls:
            error = await call
            assert (error.code, error.definite) == (StatusCode.UNAVAILABLE, False)
        script.on_request = None
        assert await ask(run, b"again") == b"again"
        assert len(run.accepted) == 2


async def test_goaway_divides_what_was_seen_from_what_was_not() -> None:
    def goaway(server: Server, request: Request) -> None:
        if len(server.requests) == 4:
            server.h2.close_connection(ErrorCodes.NO_ERROR, b"maintenance", last_stream_id=3)
            server.flush()

    script = Script(on_request=goaway)
    async with running(script) as run:
        calls = [asyncio.create_task(ask(run, b"%d" % number)) for number in range(4)]
        await asyncio.wait(calls[2:])
        for call in calls[2:]:
            error = call.exception()
            assert isinstance(error, RpcError)
            assert (error.code, error.definite) == (StatusCode.UNAVAILABLE, True)
            assert "maintenance" in error.text
        script.on_request = None
        assert await ask(run, b"new") == b"new"  # on a second connection, while the first one finishes
        assert len(run.accepted) == 2
        assert not any(call.done() for call in calls[:2])
        run.accepted[0].transport.abort()  # it promised to finish these, and did not
        for call in calls[:2]:
            with pytest.raises(RpcError) as caught:
                await call
            assert (caught.value.code, caught.value.definite) == (StatusCode.UNAVAILABLE, False)


async def test_after_goaway_the_rest_is_finished_and_the_connection_closed() -> None:
    async def later(server: Server, request: Request) -> None:
        server.raw(GoAwayFrame(0, last_stream_id=2**31 - 1).serialize())
        server.raw(GoAwayFrame(0, last_stream_id=1).serialize())
        await asyncio.sleep(0.02)
        server.respond(request.stream, b"finished")

    async with running(Script(on_request=later)) as run:
        assert await ask(run) == b"finished"
        await asyncio.wait_for(run.accepted[0].gone.wait(), 5)


async def test_stream_numbers_that_run_out_lead_to_a_new_connection() -> None:
    async with running() as run:
        assert await ask(run) == b"hello"
        [made] = run.channel._connections
        made._outbox.last_stream = 2**31 - 5
        assert await ask(run, b"last") == b"last"
        assert await ask(run, b"first") == b"first"
        assert [max(server.requests) for server in run.accepted] == [2**31 - 3, 1]


async def test_a_member_that_refuses_connections_fails_calls_at_once_and_surely() -> None:
    async with running() as run:
        endpoint = run.endpoint
    refused = H2Channel(endpoint)
    for _ in range(3):  # the second and third within the time of the first one's failure
        with pytest.raises(RpcError) as caught:
            await refused.call(Method.PUT, b"", LONG)
        assert (caught.value.code, caught.value.definite) == (StatusCode.UNAVAILABLE, True)
        assert "Connect call failed" in caught.value.text
    await refused.close()


async def test_a_member_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_CONNECT_SECONDS", 0.1)
    script = Script(greet=False)
    async with running(script) as run:
        errors = await asyncio.gather(error_of(run), error_of(run), error_of(run, timeout=0.03))
        assert [error.code for error in errors] == ["UNAVAILABLE", "UNAVAILABLE", "DEADLINE_EXCEEDED"]
        assert all(error.definite for error in errors)
        script.greet = True
        monkeypatch.setattr(channel, "_CONNECT_SECONDS", 10)
        await asyncio.sleep(0.15)
        assert await ask(run) == b"hello"


async def test_something_else_than_http2_is_named() -> None:
    async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(web_server, "127.0.0.1", 0)
    asking = H2Channel(Endpoint("m1", "127.0.0.1", listener.sockets[0].getsockname()[1]))
    with pytest.raises(RpcError, match="something else than HTTP/2") as caught:
        await asking.call(Method.PUT, b"", LONG)
    assert caught.value.definite
    await asking.close()
    listener.close()
    await listener.wait_closed()


async def test_silence_is_found_by_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK_SECONDS", 0.02)
    async with running(Script(on_request=silent, answer_pings=False)) as run:
        error = await error_of(run)
        assert (error.code, error.definite) == (StatusCode.UNAVAILABLE, False)
        assert "no sign of life" in error.text
        assert run.accepted[0].pings == 1


async def test_a_slow_answer_with_pings_answered_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK_SECONDS", 0.01)

    async def slow(server: Server, request: Request) -> None:
        async with asyncio.timeout(30):
            while server.pings < 3:  # noqa: ASYNC110 - nothing here tells of a ping
                await asyncio.sleep(0.01)
        server.respond(request.stream, b"at last")

    async with running(Script(on_request=slow)) as run:
        assert await ask(run) == b"at last"
        assert run.accepted[0].pings >= 3


async def test_close_cancels_what_is_in_flight_and_everything_after() -> None:
    async with running(Script(on_request=silent)) as run:
        call = asyncio.create_task(error_of(run))
        await until(lambda: run.accepted and run.accepted[0].requests)
        await run.channel.close()
        assert (await call).code is StatusCode.CANCELLED
        assert (await error_of(run)).code is StatusCode.CANCELLED
        await until(lambda: run.accepted[0].goaways == [0])
        await run.channel.close()


async def test_close_while_connecting() -> None:
    async with running(Script(greet=False)) as run:
        call = asyncio.create_task(error_of(run))
        await until(lambda: run.accepted)
        await run.channel.close()
        error = await call
        assert (error.code, error.definite) == (StatusCode.CANCELLED, True)


async def test_a_member_that_stops_reading_bounds_what_is_in_doubt() -> None:
    def stop_reading(server: Server, _request: Request) -> None:
        server.h2.increment_flow_control_window(2**30)
        server.flush()
        server.transport.pause_reading()

    script = Script({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}, silent, on_headers=stop_reading)
    async with running(script) as run:
        first = asyncio.create_task(error_of(run, timeout=0.9))
        await until(lambda: run.accepted and run.accepted[0].requests)
        await asyncio.sleep(0.05)  # the window arrives
        errors = await asyncio.gather(*(error_of(run, b"x" * 100_000, timeout=0.5) for _ in range(300)))
        assert {error.code for error in errors} == {StatusCode.DEADLINE_EXCEEDED}
        assert 0 < sum(error.definite for error in errors) < 300  # the kernel's buffers took some
        assert not (await first).definite


async def test_the_hook_runs_before_requests_leave_once_a_turn() -> None:
    seen: list[int] = []
    runs: list[Running] = []

    async with running(before_send=lambda: seen.append(len(runs[0].accepted[0].requests))) as run:
        runs.append(run)
        await asyncio.gather(*(ask(run) for _ in range(50)))
        assert seen == [0]
        await asyncio.gather(*(ask(run) for _ in range(50)))
        assert seen == [0, 50]


async def test_a_control_without_calls_does_not_run_the_hook() -> None:
    seen: list[str] = []
    async with running(Script(on_request=silent), before_send=lambda: seen.append("hook")) as run:
        call = asyncio.create_task(error_of(run, timeout=0.2))
        await until(lambda: run.accepted and run.accepted[0].requests)
        run.accepted[0].h2.ping(b"12345678")
        run.accepted[0].flush()
        await call
        assert seen == ["hook"]
