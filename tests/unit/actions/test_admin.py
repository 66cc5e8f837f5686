"""Requests that the stubs do not know, byte by byte, and answers."""

from __future__ import annotations

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.etcd.admin import AdminClient, AlarmKind, DowngradeAction
from tester.etcd.channel import Method
from tests.unit.load.fakes import ENDPOINTS, FakeChannel


def client(answer: bytes = b"") -> tuple[AdminClient, FakeChannel]:
    async def say(_method: Method, _request: bytes) -> bytes:
        return answer

    channel = FakeChannel(say)
    return AdminClient(ENDPOINTS[0], channel), channel


async def test_a_member_is_added_as_a_voter_or_as_a_learner() -> None:
    member = pb.Member(ID=2**63 + 1, peerURLs=["http://a"])
    answer = pb.MemberAddResponse(member=member).SerializeToString()
    made, channel = client(answer)
    assert (await made.member_add(["http://a"])).member_id == 2**63 + 1
    await made.member_add(["http://a"], learner=True)
    assert channel.calls == [
        (Method.MEMBER_ADD, b"\x0a\x08http://a"),
        (Method.MEMBER_ADD, b"\x0a\x08http://a\x10\x01"),
    ]


async def test_what_the_stubs_lack() -> None:
    made, channel = client()
    await made.member_promote(300)
    await made.move_leader(300)
    await made.disarm(5, AlarmKind.CORRUPT)
    await made.downgrade(DowngradeAction.ENABLE, "3.4")
    await made.downgrade(DowngradeAction.CANCEL)
    await made.defragment()
    await made.member_remove(2**64 - 1)
    assert channel.calls == [
        (Method.MEMBER_PROMOTE, b"\x08\xac\x02"),
        (Method.MOVE_LEADER, b"\x08\xac\x02"),
        (Method.ALARM, b"\x08\x02\x10\x05\x18\x02"),
        (Method.DOWNGRADE, b"\x08\x01\x12\x033.4"),
        (Method.DOWNGRADE, b"\x08\x02\x12\x00"),
        (Method.DEFRAGMENT, b""),
        (Method.MEMBER_REMOVE, b"\x08" + b"\xff" * 9 + b"\x01"),
    ]


async def test_a_member_that_can_be_downgraded_says_its_version() -> None:
    header = pb.ResponseHeader(cluster_id=1, member_id=2, revision=3, raft_term=4)
    answer = pb.DefragmentResponse(header=header).SerializeToString() + b"\x12\x05" + b"3.5.0"
    made, _ = client(answer)
    await made.downgrade(DowngradeAction.VALIDATE, "3.4.0")
