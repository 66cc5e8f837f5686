"""What members say at the end: a broken connection is no silence of theirs, and silence is no word."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tester import evidence
from tester.clock import RunClock
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError, StatusCode

if TYPE_CHECKING:
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
        self.asked_ns: list[int] = []
        self.questions: list[str] = []
        self.slow = 0.0
        self.silent = False

    @property
    def asked(self) -> int:
        return len(self.asked_ns)

    async def range_all(self, _prefix: str, revision: int) -> tuple[int, dict[str, str]]:
        self.asked_ns.append(CLOCK.now())
        self.questions.append("range")
        if self.errors:
            raise self.errors.pop(0)
        return revision or self.revisions[0], {}

    async def hash_kv(self, revision: int) -> SimpleNamespace:
        """It goes on while it is asked."""
        return SimpleNamespace(hash=7, revision=revision or self.revisions[0] + 1, compact_revision=0)

    async def status(self) -> SimpleNamespace:
        revision = self.revisions.pop(0) if len(self.revisions) > 1 else self.revisions[0]
        await asyncio.sleep(self.slow)
        self.questions.append("status")
        return SimpleNamespace(revision=revision, raft_index=10, applied_index=9, term=2, member_id=1)

    async def alarms(self) -> tuple[SimpleNamespace, ...]:
        self.questions.append("alarms")
        if self.silent:
            raise BROKEN
        return tuple(SimpleNamespace(member_id=number, kind=f"of {number}") for number in (0, 1, 2))

    async def close(self) -> None:
        return None


async def told(clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch, revision: int = 5) -> EndState:
    monkeypatch.setattr(evidence, "connect", lambda endpoint: endpoint)
    monkeypatch.setattr(evidence, "EtcdClient", lambda endpoint, *_: clients[endpoint.member])
    monkeypatch.setattr(evidence, "_PAUSE_SECONDS", 0.0)
    endpoints = [Endpoint(name, "127.0.0.1", 2379) for name in clients]
    return await evidence.Witness(endpoints, clients, CLOCK, Exits(), "/").testify(revision)


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


async def test_content_and_hash_are_of_one_revision_also_where_the_newest_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = (await told({"h1": Client([])}, monkeypatch, revision=0)).members["h1"]
    assert (end.hash_revision, end.applied_index) == (5, 9)


async def test_nobody_is_asked_for_alarms_before_all_have_told_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    questions: list[str] = []
    clients = {"h1": Client([]), "h2": Client([])}
    clients["h2"].slow = 0.05
    for client in clients.values():
        client.questions = questions
    end = await told(clients, monkeypatch)
    assert questions == ["range"] * 2 + ["status"] * 2 + ["alarms"] * 2
    assert end.members["h1"].alarms == ("of 0", "of 1")
    clients["h1"].silent = True
    assert "reset by peer" in str((await told(clients, monkeypatch)).members["h1"].error)


@pytest.mark.parametrize(("last", "moving"), [((5,), ()), ((5, 6, 7), ("h1",))])
async def test_it_names_who_had_not_come_to_rest(
    last: tuple[int, ...], moving: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_AGREE_NS", 10**7)
    end = await told({"h1": Client([], last), "h2": Client([], (7,))}, monkeypatch)
    assert end.moving == moving
