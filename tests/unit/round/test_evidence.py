"""What members say at the end: a broken connection is no silence of theirs, and silence is no word."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from tester import evidence
from tester.clock import RunClock
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError, StatusCode

if TYPE_CHECKING:
    import pytest

    from tester.history.endstate import MemberEnd

BROKEN = RpcError(StatusCode.UNAVAILABLE, "Stream removed (recvmsg:Connection reset by peer (104))")


class Exits:
    """Nobody has ended."""

    exits = ()
    silent = frozenset[str]()

    async def poll_now(self) -> None:
        return None


class Client:
    """A member whose first answers are these errors."""

    def __init__(self, errors: list[RpcError]) -> None:
        self.errors = errors
        self.asked = 0

    async def range_all(self, _prefix: str, revision: int) -> tuple[int, dict[str, str]]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return revision, {}

    async def hash_kv(self, revision: int) -> SimpleNamespace:
        return SimpleNamespace(hash=7, revision=revision, compact_revision=0)

    async def status(self) -> SimpleNamespace:
        return SimpleNamespace(revision=5, raft_index=9, term=2, member_id=1)

    async def alarms(self) -> tuple[SimpleNamespace, ...]:
        return ()

    async def close(self) -> None:
        return None


async def end_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> MemberEnd:
    monkeypatch.setattr(evidence, "connect", lambda endpoint: endpoint)
    monkeypatch.setattr(evidence, "EtcdClient", lambda *_: client)
    monkeypatch.setattr(evidence, "_PAUSE_SECONDS", 0.0)
    witness = evidence.Witness([Endpoint("h1", "127.0.0.1", 2379)], ["h1"], RunClock(), Exits(), "/")
    return (await witness.testify(5)).members["h1"]


async def test_a_broken_connection_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client([BROKEN, BROKEN])
    end = await end_of(client, monkeypatch)
    assert (end.error, end.hash, client.asked) == (None, 7, 3)


async def test_who_never_answers_or_refuses_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Client([BROKEN] * 100)
    assert "Connection reset by peer" in str((await end_of(silent, monkeypatch)).error)
    assert silent.asked < 100
    refusing = Client(
        [RpcError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")]
    )
    assert "compacted" in str((await end_of(refusing, monkeypatch)).error)
    assert refusing.asked == 1
