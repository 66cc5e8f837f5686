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

    from tester.history.endstate import EndState, MemberEnd

CLOCK = RunClock()
BROKEN = RpcError(StatusCode.UNAVAILABLE, "Stream removed (recvmsg:Connection reset by peer (104))")


class Exits:
    """Nobody has ended."""

    exits = ()
    silent = frozenset[str]()

    async def poll_now(self) -> None:
        return None


class Client:
    """A member whose first answers are these errors, and that is at these revisions, the last one for good."""

    def __init__(self, errors: list[RpcError], revisions: tuple[int, ...] = (5,)) -> None:
        self.errors = errors
        self.revisions = list(revisions)
        self.asked = 0
        self.asked_ns: list[int] = []

    async def range_all(self, _prefix: str, revision: int) -> tuple[int, dict[str, str]]:
        self.asked += 1
        self.asked_ns.append(CLOCK.now())
        if self.errors:
            raise self.errors.pop(0)
        return revision, {}

    async def hash_kv(self, revision: int) -> SimpleNamespace:
        return SimpleNamespace(hash=7, revision=revision, compact_revision=0)

    async def status(self) -> SimpleNamespace:
        revision = self.revisions.pop(0) if len(self.revisions) > 1 else self.revisions[0]
        return SimpleNamespace(revision=revision, raft_index=9, term=2, member_id=1)

    async def alarms(self) -> tuple[SimpleNamespace, ...]:
        return ()

    async def close(self) -> None:
        return None


async def told(clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch) -> EndState:
    monkeypatch.setattr(evidence, "connect", lambda endpoint: endpoint)
    monkeypatch.setattr(evidence, "EtcdClient", lambda endpoint, *_: clients[endpoint.member])
    monkeypatch.setattr(evidence, "_PAUSE_SECONDS", 0.0)
    endpoints = [Endpoint(name, "127.0.0.1", 2379) for name in clients]
    return await evidence.Witness(endpoints, clients, CLOCK, Exits(), "/").testify(5)


async def end_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> MemberEnd:
    return (await told({"h1": client}, monkeypatch)).members["h1"]


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


async def test_it_says_since_when_the_answers_that_it_keeps_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = {"h1": Client([], (5, 6)), "h2": Client([], (6,))}
    began = CLOCK.now()
    end = await told(clients, monkeypatch)
    assert [len(client.asked_ns) for client in clients.values()] == [2, 2], "a lease ended in between"
    assert end.asked is not None
    for client in clients.values():
        first, second = client.asked_ns
        assert began <= first <= end.asked <= second <= end.at
