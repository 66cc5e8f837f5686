"""Between the history's words and etcd's: operations to requests, answers to results. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb
from google.protobuf.message import DecodeError

from tester.etcd.channel import Method
from tester.etcd.shape import misfit
from tester.history.records import (
    Compact,
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseOperation,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)
from tester.load import values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KvStep: TypeAlias = Put | Range | Delete | Txn
"""What a transaction may hold."""

KvOperation: TypeAlias = KvStep | Compact
LoadOperation: TypeAlias = KvOperation | LeaseOperation

_ONE_BYTE = 127
"""The greatest length that protobuf writes in one byte."""
_COMPARE_RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}
_COMPARE_TARGETS = {"version": 0, "create": 1, "mod": 2, "value": 3, "lease": 4}
_COMPARE_FIELDS = {
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "lease": "lease",
}


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a member said: revision and term of the answer's header, and the result (none for a put)."""

    revision: int
    term: int
    result: Result | None


def is_write(op: LoadOperation) -> bool:
    """Whether ``op`` can change anything: keys, leases, or that the past can be read."""
    if isinstance(op, Txn):
        return any(is_write(inner) for inner in (*op.then, *op.orelse))
    return not isinstance(op, Range | LeaseTimeToLive)


def request(op: KvOperation | LeaseGrant | LeaseRevoke | LeaseTimeToLive) -> tuple[Method, bytes]:
    """The method and the serialized request of an operation."""
    method, serialize = _REQUESTS[type(op)]
    return method, serialize(op)


def keepalive_request(op: LeaseKeepAlive) -> bytes:
    """The message of a keepalive, which goes over a stream."""
    return bytes(pb.LeaseKeepAliveRequest(ID=op.l).SerializeToString())


def answer(op: LoadOperation, response: bytes) -> Answer:
    """The answer to an operation.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no answer to this operation.
    """
    parse, read = _ANSWERS[type(op)]
    message = parse(response)
    header = message.header
    result = None if read is None else read(message)
    if isinstance(op, Txn) and (wrong := misfit(op, result)) is not None:
        raise DecodeError(wrong)
    return Answer(header.revision, header.raft_term, result)


def key_value(kv: kv_pb2.KeyValue) -> KeyValue:
    """A key with its value as the history holds them."""
    return KeyValue(
        k=_text(kv.key),
        v=values.decode(kv.value),
        c=kv.create_revision,
        m=kv.mod_revision,
        ver=kv.version,
        l=kv.lease,
    )


# Of repeated fields a copy is taken, ``[:]``: to walk through a container of upb costs as much as three messages in it.


def events(received: Sequence[kv_pb2.Event]) -> tuple[Event, ...]:
    """The events of one watch response."""
    return tuple(map(_event, received[:]))


def _event(event: kv_pb2.Event) -> Event:
    kv = event.kv
    previous = key_value(event.prev_kv) if event.HasField("prev_kv") else None
    if event.type == kv_pb2.Event.DELETE:
        return Event(k=_text(kv.key), m=kv.mod_revision, d=True, p=previous)
    return Event(
        k=_text(kv.key),
        m=kv.mod_revision,
        v=values.decode(kv.value),
        c=kv.create_revision,
        ver=kv.version,
        l=kv.lease,
        p=previous,
    )


def _text(key: bytes) -> str:
    # The load's keys are ASCII; a foreign key must neither crash the recording nor pass for one of ours.
    return key.decode("utf-8", "backslashreplace")


def _put_bytes(op: Put) -> bytes:
    """As ``_put`` would be serialized: by hand, because it is what a load asks most; as ``_range_bytes``."""
    key, value = op.k.encode(), values.to_bytes(op.v)
    if op.l or len(key) > _ONE_BYTE or len(value) > _ONE_BYTE or not value:
        return bytes(_put(op).SerializeToString())
    return b"\x0a%c%b\x12%c%b" % (len(key), key, len(value), value)


def _range_bytes(op: Range) -> bytes:
    key = op.k.encode()
    if op.e or op.r or op.s or op.n or op.keys_only or op.count_only or not 0 < len(key) <= _ONE_BYTE:
        return bytes(_range(op).SerializeToString())
    return b"\x0a%c%b" % (len(key), key)


def _put(op: Put) -> pb.PutRequest:
    return pb.PutRequest(key=op.k.encode(), value=values.to_bytes(op.v), lease=op.l)


def _range(op: Range) -> pb.RangeRequest:
    return pb.RangeRequest(
        key=op.k.encode(),
        range_end=op.e.encode(),
        revision=op.r,
        serializable=op.s,
        limit=op.n,
        keys_only=op.keys_only,
        count_only=op.count_only,
    )


def _delete(op: Delete) -> pb.DeleteRangeRequest:
    return pb.DeleteRangeRequest(key=op.k.encode(), range_end=op.e.encode())


def _txn(op: Txn) -> pb.TxnRequest:
    return pb.TxnRequest(
        compare=[_compare(condition) for condition in op.cmp],
        success=[_request_op(inner) for inner in op.then],
        failure=[_request_op(inner) for inner in op.orelse],
    )


def _request_op(op: KvStep) -> pb.RequestOp:
    if isinstance(op, Put):
        return pb.RequestOp(request_put=_put(op))
    if isinstance(op, Range):
        return pb.RequestOp(request_range=_range(op))
    if isinstance(op, Delete):
        return pb.RequestOp(request_delete_range=_delete(op))
    return pb.RequestOp(request_txn=_txn(op))


def _compare(condition: Compare) -> pb.Compare:
    compare = pb.Compare(
        key=condition.k.encode(),
        range_end=condition.e.encode(),
        result=_COMPARE_RESULTS[condition.op],
        target=_COMPARE_TARGETS[condition.target],
    )
    if condition.target == "value":
        compare.value = values.to_bytes(str(condition.x))
    else:
        setattr(compare, _COMPARE_FIELDS[condition.target], condition.x)
    return compare


def _range_result(response: pb.RangeResponse) -> RangeResult:
    return RangeResult(kv=tuple(map(key_value, response.kvs[:])), count=response.count, more=response.more)


def _txn_result(response: pb.TxnResponse) -> TxnResult:
    return TxnResult(succeeded=response.succeeded, responses=tuple(map(_response_op, response.responses[:])))


def _response_op(response: pb.ResponseOp) -> RangeResult | PutResult | DeleteResult | TxnResult:
    kind = response.WhichOneof("response")
    if kind == "response_put":
        return PutResult()
    if kind == "response_range":
        return _range_result(response.response_range)
    if kind == "response_delete_range":
        return DeleteResult(deleted=response.response_delete_range.deleted)
    if kind == "response_txn":
        return _txn_result(response.response_txn)
    raise DecodeError("a step of a transaction was answered with nothing")


# By kind of operation: one look instead of a chain of questions, with every operation.
_REQUESTS: dict[type[LoadOperation], tuple[Method, Callable[[Any], bytes]]] = {
    Put: (Method.PUT, _put_bytes),
    Range: (Method.RANGE, _range_bytes),
    Delete: (Method.DELETE_RANGE, lambda op: _delete(op).SerializeToString()),
    Txn: (Method.TXN, lambda op: _txn(op).SerializeToString()),
    Compact: (
        Method.COMPACT,
        lambda op: pb.CompactionRequest(revision=op.r, physical=op.physical).SerializeToString(),
    ),
    LeaseGrant: (
        Method.LEASE_GRANT,
        lambda op: pb.LeaseGrantRequest(ID=op.l, TTL=op.ttl).SerializeToString(),
    ),
    LeaseRevoke: (Method.LEASE_REVOKE, lambda op: pb.LeaseRevokeRequest(ID=op.l).SerializeToString()),
    LeaseTimeToLive: (Method.LEASE_TTL, lambda op: pb.LeaseTimeToLiveRequest(ID=op.l).SerializeToString()),
}
_ANSWERS: dict[type[LoadOperation], tuple[Callable[[bytes], Any], Callable[[Any], Result] | None]] = {
    Put: (pb.PutResponse.FromString, None),
    Range: (pb.RangeResponse.FromString, _range_result),
    Delete: (pb.DeleteRangeResponse.FromString, lambda gone: DeleteResult(deleted=gone.deleted)),
    Txn: (pb.TxnResponse.FromString, _txn_result),
    Compact: (pb.CompactionResponse.FromString, None),
    LeaseGrant: (pb.LeaseGrantResponse.FromString, lambda granted: LeaseResult(ttl=granted.TTL)),
    LeaseRevoke: (pb.LeaseRevokeResponse.FromString, None),
    LeaseKeepAlive: (pb.LeaseKeepAliveResponse.FromString, lambda kept: LeaseResult(ttl=kept.TTL)),
    LeaseTimeToLive: (
        pb.LeaseTimeToLiveResponse.FromString,
        lambda left: LeaseResult(ttl=left.TTL, granted=left.grantedTTL),
    ),
}
