import asyncio
from collections import Counter

import pytest
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.clock import RunClock
from tester.errors import LoadError
from tester.etcd.channel import Method
from tester.etcd.errors import RpcError, StatusCode
from tester.history.history import History
from tester.history.records import ClientRecord, Fail, HistoryRecord, Info, Invoke, Ok, Range, Txn
from tester.load import engine
from tester.load.engine import Load
from tester.scenario.stressers import KvStresser
from tests.unit.load.fakes import ENDPOINTS, Answer, FakeChannel, Member, Sink, connect_to


def load_of(answer: Answer, sink: Sink, channels: dict[str, FakeChannel], **settings: object) -> Load:
    stresser = KvStresser.model_validate({"kind": "kv", "preset": "register", "clients": 6, **settings})
    return Load(
        [stresser],
        ENDPOINTS,
        sink,  # type: ignore[arg-type]
        RunClock(),
        7,
        "p/",
        connect=connect_to(channels, answer),
    )


def ends(records: list[HistoryRecord]) -> dict[int, HistoryRecord]:
    return {r.id: r for r in records if isinstance(r, Ok | Fail | Info)}


def invoked(records: list[HistoryRecord]) -> list[Invoke]:
    return [r for r in records if isinstance(r, Invoke)]


async def run_for(load: Load, seconds: float) -> None:
    await load.start()
    await asyncio.sleep(seconds)
    await load.stop()


async def test_every_operation_has_an_invocation_and_one_end_in_order() -> None:
    sink, channels = Sink(), dict[str, FakeChannel]()
    load = load_of(Member(), sink, channels)
    await run_for(load, 0.1)
    began = invoked(sink.records)
    assert [r.id for r in began] == list(range(1, len(began) + 1))
    assert Counter(r.id for r in sink.records if isinstance(r, Ok | Fail | Info)) == Counter(
        r.id for r in began
    )
    open_ids = set()
    for record in sink.records:
        assert isinstance(record, Invoke | Ok | Fail | Info)
        if isinstance(record, Invoke):
            open_ids.add(record.id)
        else:
            open_ids.remove(record.id)
    assert load.totals().ok == len(ends(sink.records)) > 50
    assert all(channel.closed for channel in channels.values())


async def test_clients_are_pinned_round_robin_and_do_one_thing_at_a_time() -> None:
    sink = Sink()
    await run_for(load_of(Member(), sink, {}), 0.1)
    members = {(r.c, r.m) for r in invoked(sink.records)}
    assert sorted(members) == [(n, ENDPOINTS[n % 3].member) for n in range(6)]
    busy: dict[int, int] = {}
    clients = {r.id: r.c for r in invoked(sink.records)}
    for record in sink.records:
        if isinstance(record, Invoke):
            assert record.c not in busy
            busy[record.c] = record.id
        elif isinstance(record, Ok | Fail | Info):
            assert busy.pop(clients[record.id]) == record.id


async def test_outcomes_of_reads_and_writes() -> None:
    async def broken(method: Method, request: bytes) -> bytes:
        raise RpcError(StatusCode.UNAVAILABLE, "connection reset")

    sink = Sink()
    load = load_of(broken, sink, {})
    await run_for(load, 0.4)
    outcomes = ends(sink.records)
    for record in invoked(sink.records):
        assert isinstance(outcomes[record.id], Fail if isinstance(record.op, Range) else Info)
    kinds = {type(r) for r in outcomes.values()}
    assert kinds == {Fail, Info}
    # bounded, not a hot loop: 6 clients, 50-250 ms between attempts
    assert len(outcomes) <= 6 * 10
    load.check_alive()


async def test_garbage_for_an_answer_is_an_unknown_outcome() -> None:
    async def garbage(method: Method, request: bytes) -> bytes:
        return b"\xff\xff\xff"

    sink = Sink()
    load = load_of(garbage, sink, {})
    await run_for(load, 0.1)
    outcomes = ends(sink.records)
    assert all(
        isinstance(outcomes[r.id], Fail if isinstance(r.op, Range) else Info) for r in invoked(sink.records)
    )
    load.check_alive()


@pytest.mark.parametrize("responses", [[], [pb.ResponseOp(response_range=pb.RangeResponse())]])
async def test_a_transaction_answered_otherwise_than_asked_is_an_unknown_outcome(
    responses: list[pb.ResponseOp],
) -> None:
    member = Member()

    async def bent(method: Method, request: bytes) -> bytes:
        answer = await member(method, request)
        if method is not Method.TXN:
            return answer
        honest = pb.TxnResponse.FromString(answer)
        told = pb.TxnResponse(header=honest.header, succeeded=True, responses=responses)
        return bytes(told.SerializeToString())

    sink = Sink()
    load = load_of(bent, sink, {}, weights={"put": 1, "txn-cas": 1})
    await run_for(load, 0.2)
    load.check_alive()
    asked = {r.id for r in invoked(sink.records) if isinstance(r.op, Txn)}
    unknown = {r.id: r for r in sink.records if isinstance(r, Info) and r.error == "INTERNAL"}
    assert asked >= unknown.keys() != set()
    assert all("a transaction was" in r.text or "a transaction were" in r.text for r in unknown.values())
    assert asked.isdisjoint(r.id for r in sink.records if isinstance(r, Ok))
    History(sink.records)


async def test_a_client_that_dies_is_recorded_and_raised_and_the_others_go_on() -> None:
    member, calls = Member(), 0

    async def once_defective(method: Method, request: bytes) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise ZeroDivisionError("a defect")
        return await member(method, request)

    sink = Sink()
    load = load_of(once_defective, sink, {})
    await load.start()
    load.check_alive()
    await asyncio.sleep(0.1)
    with pytest.raises(LoadError, match=r"client . on m. died: ZeroDivisionError"):
        load.check_alive()
    before = len(sink.records)
    await asyncio.sleep(0.05)
    assert len(sink.records) > before
    await load.pause()
    await load.stop()
    (death,) = [r for r in sink.records if isinstance(r, ClientRecord)]
    assert "a defect" in death.error


async def test_a_history_that_cannot_be_written_ends_the_load() -> None:
    class Full(Sink):
        def write(self, record: HistoryRecord) -> None:
            if len(self.records) >= 30:
                raise LoadError("the disk is full")
            super().write(record)

    load = load_of(Member(), Full(), {})
    await load.start()

    async def until_dead() -> None:
        async with asyncio.timeout(30):
            while True:
                load.check_alive()
                await asyncio.sleep(0.01)

    with pytest.raises(LoadError, match="the disk is full"):
        await until_dead()
    await load.stop()


async def test_pause_waits_for_what_is_in_flight_and_resume_goes_on() -> None:
    member, gate = Member(), asyncio.Event()

    async def held(method: Method, request: bytes) -> bytes:
        await gate.wait()
        return await member(method, request)

    sink = Sink()
    load = load_of(held, sink, {})
    await load.start()
    await asyncio.sleep(0.02)
    pausing = asyncio.create_task(load.pause())
    await asyncio.sleep(0.05)
    assert not pausing.done()
    gate.set()
    await pausing
    quiet = len(sink.records)
    assert len(ends(sink.records)) == len(invoked(sink.records)) == 6
    await asyncio.sleep(0.05)
    assert len(sink.records) == quiet
    await load.resume()
    await asyncio.sleep(0.05)
    assert len(sink.records) > quiet
    await load.stop()


async def test_what_is_in_flight_at_the_stop_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_STOP_SECONDS", 0.05)

    async def never(method: Method, request: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    sink = Sink()
    load = load_of(never, sink, {})
    await run_for(load, 0.02)
    assert len(ends(sink.records)) == len(invoked(sink.records)) == 6
    assert {r.error for r in ends(sink.records).values() if isinstance(r, Fail | Info)} == {"CANCELLED"}


async def test_a_call_that_outlives_its_deadline_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_STUCK_SECONDS", 0.05)
    monkeypatch.setattr(engine, "_STOP_SECONDS", 0.05)

    async def never(method: Method, request: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    load = load_of(never, Sink(), {}, timeout="10ms")
    await load.start()
    await asyncio.sleep(0.1)
    with pytest.raises(LoadError, match="past its deadline"):
        load.check_alive()
    with pytest.raises(LoadError, match="past its deadline"):
        await load.pause()
    await load.stop()


async def test_the_rate_limits_all_clients_together() -> None:
    sink = Sink()
    load = load_of(Member(), sink, {}, rate="100/s")
    await run_for(load, 0.5)
    assert 5 < len(invoked(sink.records)) < 75


async def test_the_mark_is_recorded_and_skips_a_member_that_is_down() -> None:
    member = Member()
    channels = {endpoint.member: FakeChannel(member) for endpoint in ENDPOINTS}

    async def down(method: Method, request: bytes) -> bytes:
        raise RpcError(StatusCode.UNAVAILABLE, "down")

    channels["m1"].answer = down
    sink = Sink()
    load = load_of(member, sink, channels)
    await load.start()
    await load.pause()
    sink.records.clear()
    revision = await load.mark(2.0)
    assert [type(r) for r in sink.records] == [Invoke, Info, Invoke, Ok]
    last = sink.records[-1]
    assert isinstance(last, Ok)
    assert revision == last.rev
    assert pb.PutRequest.FromString(channels["m2"].calls[-1][1]).key == b"p/mark"
    for channel in channels.values():
        channel.answer = down
    with pytest.raises(LoadError, match="no member took a write"):
        await load.mark(0.2)
    await load.stop()


async def test_a_sample_and_a_window_count_what_was_recorded() -> None:
    sink = Sink()
    load = load_of(Member(), sink, {})
    await run_for(load, 0.1)
    assert load.window(0, 3_600_000_000_000).ok == load.totals().ok == load.sample(10**9).ok


async def test_all_clients_ask_the_member_that_the_stresser_names() -> None:
    sink = Sink()
    await run_for(load_of(Member(), sink, {}, member="m2"), 0.05)
    assert {r.m for r in invoked(sink.records)} == {"m2"}


async def test_latency_of_an_open_loop_counts_from_when_an_operation_was_due() -> None:
    async def slow(method: Method, request: bytes) -> bytes:
        await asyncio.sleep(0.02)
        return await Member()(method, request)

    sink = Sink()
    load = load_of(slow, sink, {}, clients=1, rate="1000/s", arrivals="open")
    await run_for(load, 0.4)
    stats = load.window(0, 10**12)
    assert stats.ok > 5
    assert stats.max is not None
    # One client answers every 20 ms what is asked for every millisecond: the queue grows, and so does its time.
    assert stats.max > 0.1
    assert stats.max > stats.lag / 2, "most of it is the time in the queue"
    assert load.totals().lag_seconds > 0.1


async def test_an_open_loop_asks_on_where_everything_fails() -> None:
    async def refuse(method: Method, request: bytes) -> bytes:
        raise RpcError(StatusCode.UNAVAILABLE, "nobody there")

    asked = {}
    for arrivals in ("open", "closed"):
        sink = Sink()
        await run_for(load_of(refuse, sink, {}, clients=1, rate="200/s", arrivals=arrivals), 0.5)
        asked[arrivals] = len(invoked(sink.records))
    assert asked["open"] > 3 * asked["closed"]
