import pytest
from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb
from google.protobuf.message import DecodeError

from tester.etcd import codec
from tester.etcd.channel import Method
from tester.history.records import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from tester.load import values

HEADER = pb.ResponseHeader(revision=12, raft_term=3)
KV = kv_pb2.KeyValue(
    key=b"k", value=values.encode(5, 20), create_revision=2, mod_revision=9, version=4, lease=1
)
RECORDED = KeyValue(k="k", v="5:20", c=2, m=9, ver=4, l=1)


def test_requests_say_what_the_operation_says() -> None:
    method, data = codec.request(Put(k="k", v="7:10", l=3))
    put = pb.PutRequest.FromString(data)
    assert (method, put.key, put.value, put.lease) == (Method.PUT, b"k", b"7:7:7:7:7:", 3)
    method, data = codec.request(Range(k="a", e="b", r=4, s=True, n=5, keys_only=True, count_only=True))
    assert method is Method.RANGE
    assert pb.RangeRequest.FromString(data) == pb.RangeRequest(
        key=b"a", range_end=b"b", revision=4, serializable=True, limit=5, keys_only=True, count_only=True
    )
    method, data = codec.request(Delete(k="a", e="\0"))
    assert method is Method.DELETE_RANGE
    assert pb.DeleteRangeRequest.FromString(data) == pb.DeleteRangeRequest(key=b"a", range_end=b"\0")


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (Compare(k="k", target="version", op=">", x=1), pb.Compare(key=b"k", target=0, result=1, version=1)),
        (Compare(k="k", target="create", op="=", x=2), pb.Compare(key=b"k", target=1, create_revision=2)),
        (Compare(k="k", target="mod", op="<", x=3), pb.Compare(key=b"k", target=2, result=2, mod_revision=3)),
        (
            Compare(k="k", target="value", op="!=", x="1:2"),
            pb.Compare(key=b"k", target=3, result=3, value=b"1:"),
        ),
        (
            Compare(k="a", e="z", target="lease", op="=", x=9),
            pb.Compare(key=b"a", range_end=b"z", target=4, lease=9),
        ),
    ],
)
def test_every_comparison(compare: Compare, expected: pb.Compare) -> None:
    _, data = codec.request(Txn(cmp=(compare,)))
    assert pb.TxnRequest.FromString(data).compare[0] == expected


def test_a_transaction_and_its_answer_nest() -> None:
    op = Txn(then=(Put(k="k", v="1:5"), Range(k="k"), Txn(orelse=(Delete(k="k"),))), orelse=(Delete(k="x"),))
    request = pb.TxnRequest.FromString(codec.request(op)[1])
    assert [part.WhichOneof("request") for part in request.success] == [
        "request_put",
        "request_range",
        "request_txn",
    ]
    inner = pb.TxnResponse(responses=[pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse(deleted=1))])
    response = pb.TxnResponse(
        header=HEADER,
        succeeded=True,
        responses=[
            pb.ResponseOp(response_put=pb.PutResponse()),
            pb.ResponseOp(response_range=pb.RangeResponse(kvs=[KV], count=1)),
            pb.ResponseOp(response_txn=inner),
        ],
    )
    assert codec.answer(op, response.SerializeToString()) == codec.Answer(
        12,
        3,
        TxnResult(
            succeeded=True,
            responses=(
                PutResult(),
                RangeResult(kv=(RECORDED,), count=1),
                TxnResult(responses=(DeleteResult(deleted=1),)),
            ),
        ),
    )


PUT, RANGE, GONE = (
    pb.ResponseOp(response_put=pb.PutResponse()),
    pb.ResponseOp(response_range=pb.RangeResponse()),
    pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse()),
)


def nested(*responses: pb.ResponseOp) -> pb.ResponseOp:
    return pb.ResponseOp(response_txn=pb.TxnResponse(responses=responses))


@pytest.mark.parametrize(
    ("responses", "says"),
    [
        ((PUT, RANGE, nested(GONE)), None),
        ((), "3 steps of a transaction were answered with 0"),
        ((PUT, RANGE), "3 steps of a transaction were answered with 2"),
        ((RANGE, PUT, nested(GONE)), "a put in a transaction was answered with a range"),
        ((PUT, RANGE, GONE), "a txn in a transaction was answered with a delete"),
        ((PUT, RANGE, nested()), "1 steps of a transaction were answered with 0"),
        ((PUT, RANGE, nested(PUT)), "a delete in a transaction was answered with a put"),
        ((PUT, RANGE, pb.ResponseOp()), "a step of a transaction was answered with nothing"),
    ],
)
def test_a_transaction_is_answered_step_by_step(
    responses: tuple[pb.ResponseOp, ...], says: str | None
) -> None:
    op = Txn(then=(Put(k="k", v="1:5"), Range(k="k"), Txn(orelse=(Delete(k="k"),))))
    response = pb.TxnResponse(header=HEADER, succeeded=True, responses=responses).SerializeToString()
    if says is None:
        assert codec.answer(op, response).revision == 12
    else:
        with pytest.raises(DecodeError, match=says):
            codec.answer(op, response)


def test_single_answers() -> None:
    assert codec.answer(Put(k="k", v="1:2"), pb.PutResponse(header=HEADER).SerializeToString()).result is None
    gone = pb.DeleteRangeResponse(header=HEADER, deleted=2).SerializeToString()
    assert codec.answer(Delete(k="k"), gone) == codec.Answer(12, 3, DeleteResult(deleted=2))
    found = pb.RangeResponse(header=HEADER, kvs=[KV], more=True, count=9).SerializeToString()
    assert codec.answer(Range(k="k"), found).result == RangeResult(kv=(RECORDED,), count=9, more=True)


def test_events_of_puts_and_deletes() -> None:
    put = kv_pb2.Event(type=kv_pb2.Event.PUT, kv=KV, prev_kv=KV)
    delete = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=b"\xff", mod_revision=11))
    assert codec.events([put, delete]) == (
        Event(k="k", v="5:20", c=2, m=9, ver=4, l=1, p=RECORDED),
        Event(k="\\xff", m=11, d=True),
    )


def test_what_can_change_something_is_a_write() -> None:
    assert codec.is_write(Txn(orelse=(Txn(then=(Delete(k="k"),)),)))
    assert not codec.is_write(Txn(then=(Range(k="k"),)))
    assert not codec.is_write(Range(k="k"))


@pytest.mark.parametrize("op", [
    Put(k="k", v="7:10"), Put(k="k", v="7:2"), Put(k="k" * 127, v="7:127"), Put(k="k" * 128, v="7:10"),
    Put(k="k", v="7:128"), Put(k="k", v="7:40000"), Put(k="ü" * 100, v="7:10"), Put(k="k", v="7:10", l=9),
])  # fmt: skip
def test_a_put_by_hand_is_what_protobuf_makes_of_it(op: Put) -> None:
    _, data = codec.request(op)
    expected = pb.PutRequest(key=op.k.encode(), value=values.to_bytes(op.v), lease=op.l)
    assert data == expected.SerializeToString()
