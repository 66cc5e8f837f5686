import pytest

from tester.etcd.errors import RpcError, StatusCode

DEFINITE = [
    (StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided"),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"),
    (StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists"),
    (StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"),
    (StatusCode.NOT_FOUND, "etcdserver: requested lease not found"),
    (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"),
    (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"),
    (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    (StatusCode.UNAVAILABLE, "etcdserver: rpc not supported for learner"),
]
INDEFINITE = [
    (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
    (StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max"),
    (StatusCode.UNAVAILABLE, "etcdserver: request timed out"),
    (StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure"),
    (StatusCode.UNAVAILABLE, "etcdserver: leader changed"),
    (StatusCode.UNAVAILABLE, "etcdserver: server stopped"),
    (StatusCode.UNAVAILABLE, "etcdserver: no leader"),
    (StatusCode.UNAVAILABLE, "failed to connect to all addresses"),
    (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    (StatusCode.UNKNOWN, "raft proposal dropped"),
    (StatusCode.CANCELLED, ""),
    (StatusCode.INTERNAL, "anything"),
    (StatusCode.DATA_LOSS, "etcdserver: corrupt cluster"),
    (StatusCode.INVALID_ARGUMENT, "a proxy said so"),
]


@pytest.mark.parametrize(("code", "text"), DEFINITE)
def test_surely_not_applied(code: StatusCode, text: str) -> None:
    assert RpcError(code, text).definite


@pytest.mark.parametrize(("code", "text"), INDEFINITE)
def test_nobody_knows(code: StatusCode, text: str) -> None:
    assert not RpcError(code, text).definite


def test_kinds_are_etcds_words_or_the_status() -> None:
    assert RpcError(StatusCode.UNAVAILABLE, "etcdserver: leader changed").kind == "etcdserver: leader changed"
    assert RpcError(StatusCode.UNAVAILABLE, "ipv4:10.0.0.1:2379: refused").kind == "UNAVAILABLE"
