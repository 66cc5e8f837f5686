"""Between the history's words and etcd's: operations to requests, answers to results. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.channel import Method
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
    from collections.abc import Iterable

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


@dataclass(frozen=True, slots=True)
class Answer:
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
    if isinstance(op, Put):
        return Method.PUT, _put_bytes(op)
    if isinstance(op, Range):
        return Method.RANGE, _range(op).SerializeToString()
    if isinstance(op, Delete):
        return Method.DELETE_RANGE, _delete(op).SerializeToString()
    if isinstance(op, Compact):
        return Method.COMPACT, pb.CompactionRequest(revision=op.r, physical=op.physical).SerializeToString()
    if isinstance(op, Txn):
        return Method.TXN, _txn(op).SerializeToString()
    return _lease_request(op)


def _lease_request(op: LeaseGrant | LeaseRevoke | LeaseTimeToLive) -> tuple[Method, bytes]:
    if isinstance(op, LeaseGrant):
        return Method.LEASE_GRANT, pb.LeaseGrantRequest(ID=op.l, TTL=op.ttl).SerializeToString()
    if isinstance(op, LeaseRevoke):
        return Method.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=op.l).SerializeToString()
    return Method.LEASE_TTL, pb.LeaseTimeToLiveRequest(ID=op.l).SerializeToString()


def keepalive_request(op: LeaseKeepAlive) -> bytes:
    """The message of a keepalive, which goes over a stream."""
    return bytes(pb.LeaseKeepAliveRequest(ID=op.l).SerializeToString())


def answer(op: LoadOperation, response: bytes) -> Answer:
    """The answer to an operation.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no answer to this kind of operation.
    """
    if isinstance(op, Put):
        put = pb.PutResponse.FromString(response)
        return Answer(put.header.revision, put.header.raft_term, None)
    if isinstance(op, Range):
        found = pb.RangeResponse.FromString(response)
        return Answer(found.header.revision, found.header.raft_term, _range_result(found))
    if isinstance(op, Delete):
        gone = pb.DeleteRangeResponse.FromString(response)
        return Answer(gone.header.revision, gone.header.raft_term, DeleteResult(deleted=gone.deleted))
    if isinstance(op, Compact):
        compacted = pb.CompactionResponse.FromString(response)
        return Answer(compacted.header.revision, compacted.header.raft_term, None)
    if isinstance(op, Txn):
        done = pb.TxnResponse.FromString(response)
        return Answer(done.header.revision, done.header.raft_term, _txn_result(done))
    return _lease_answer(op, response)


def _lease_answer(op: LeaseOperation, response: bytes) -> Answer:
    if isinstance(op, LeaseGrant):
        granted = pb.LeaseGrantResponse.FromString(response)
        return Answer(granted.header.revision, granted.header.raft_term, LeaseResult(ttl=granted.TTL))
    if isinstance(op, LeaseRevoke):
        revoked = pb.LeaseRevokeResponse.FromString(response)
        return Answer(revoked.header.revision, revoked.header.raft_term, None)
    if isinstance(op, LeaseKeepAlive):
        kept = pb.LeaseKeepAliveResponse.FromString(response)
        return Answer(kept.header.revision, kept.header.raft_term, LeaseResult(ttl=kept.TTL))
    left = pb.LeaseTimeToLiveResponse.FromString(response)
    result = LeaseResult(ttl=left.TTL, granted=left.grantedTTL)
    return Answer(left.header.revision, left.header.raft_term, result)


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


def events(received: Iterable[kv_pb2.Event]) -> tuple[Event, ...]:
    """The events of one watch response."""
    return tuple(map(_event, received))


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
    """As ``_put`` would be serialized: by hand, because it is what a load asks most."""
    key, value = op.k.encode(), values.to_bytes(op.v)
    if op.l or len(key) > _ONE_BYTE or len(value) > _ONE_BYTE or not value:
        return bytes(_put(op).SerializeToString())
    return b"\x0a%c%b\x12%c%b" % (len(key), key, len(value), value)


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
    return RangeResult(kv=tuple(map(key_value, response.kvs)), count=response.count, more=response.more)


def _txn_result(response: pb.TxnResponse) -> TxnResult:
    return TxnResult(succeeded=response.succeeded, responses=tuple(map(_response_op, response.responses)))


def _response_op(response: pb.ResponseOp) -> RangeResult | PutResult | DeleteResult | TxnResult:
    kind = response.WhichOneof("response")
    if kind == "response_put":
        return PutResult()
    if kind == "response_range":
        return _range_result(response.response_range)
    if kind == "response_delete_range":
        return DeleteResult(deleted=response.response_delete_range.deleted)
    return _txn_result(response.response_txn)
