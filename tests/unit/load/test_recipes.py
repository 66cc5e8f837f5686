"""The recipes, without etcd: what they ask for and what they make of answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tester.etcd.codec import Answer
from tester.history.records import (
    Delete,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from tester.recipes.contest import Contest, Standing, Ticket
from tester.recipes.session import Session

if TYPE_CHECKING:
    from tester.etcd.codec import LoadOperation
    from tester.history.records import Result

CONTEST = Contest("p/q/")


def kv(key: str, create: int) -> KeyValue:
    return KeyValue(key, "1:4", create, create, 1, 7)


class Script:
    """Answers in turn; ``None`` is a failure."""

    def __init__(self, *results: Result | None) -> None:
        self.results = list(results)
        self.asked: list[LoadOperation] = []

    async def __call__(self, op: LoadOperation) -> Answer | None:
        self.asked.append(op)
        result = self.results.pop(0)
        return None if result is None else Answer(40, 2, result)


async def test_a_place_is_taken_once() -> None:
    taken = Script(TxnResult(succeeded=True, responses=(PutResult(),)))
    assert await CONTEST.enter(taken, 0xAB, "1:4") == Ticket("p/q/ab", 40)
    (op,) = taken.asked
    assert isinstance(op, Txn)
    assert op.then == (Put("p/q/ab", "1:4", 0xAB),)
    found = Script(TxnResult(succeeded=False, responses=(RangeResult((kv("p/q/ab", 33),), 1),)))
    assert await CONTEST.enter(found, 0xAB, "1:4") == Ticket("p/q/ab", 33)
    assert await CONTEST.enter(Script(None), 0xAB, "1:4") is None


async def test_the_first_come_is_the_owner() -> None:
    ask = Script(RangeResult((kv("p/q/a", 9), kv("p/q/b", 5), kv("p/q/c", 7)), 3))
    standing = await CONTEST.look(ask)
    assert standing is not None
    assert [found.k for found in standing.contenders] == ["p/q/b", "p/q/c", "p/q/a"]
    assert ask.asked == [Range("p/q/", "p/q0")]
    assert CONTEST.wins(Ticket("p/q/b", 5), standing)
    assert not CONTEST.wins(Ticket("p/q/b", 4), standing)  # the same key, an older place
    before = CONTEST.predecessor(Ticket("p/q/a", 9), standing)
    assert before is not None
    assert before.k == "p/q/c"
    assert not CONTEST.is_there(Ticket("p/q/a", 8), standing)
    assert not CONTEST.wins(Ticket("p/q/b", 5), Standing(3, ()))


def test_a_fenced_step_needs_the_token() -> None:
    op = CONTEST.fenced(Ticket("p/q/a", 9), Delete("x"))
    assert [(c.k, c.target, c.op, c.x) for c in op.cmp] == [("p/q/a", "create", "=", 9)]
    assert (op.then, op.orelse) == ((Delete("x"),), (Range("p/q/a"),))


async def test_a_session_lives_from_when_it_was_asked_for() -> None:
    renewals = 0

    async def ask(op: LoadOperation) -> Answer | None:
        assert isinstance(op, LeaseGrant)
        await asyncio.sleep(0.05)
        return Answer(1, 1, LeaseResult(3))

    async def keep(op: LoadOperation) -> Answer | None:
        nonlocal renewals
        assert isinstance(op, LeaseKeepAlive)
        renewals += 1
        return Answer(1, 1, LeaseResult(3 if renewals < 3 else 0))

    session = Session(keep, 7, 3, lambda: None)
    assert not session.alive
    assert await session.open(ask)
    assert session.alive
    session._until = time.monotonic() + 0.01
    await asyncio.sleep(0.02)
    assert not session.alive  # nobody has renewed it in time
    session._until = time.monotonic() + 60
    session._ttl = 0
    await session.close()
    assert not session.alive


async def test_a_session_ends_when_etcd_says_so_and_a_defect_gets_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tester.recipes.session._RENEWALS_PER_TTL", 1000)
    grant = Script(LeaseResult(3))
    session = Session(Script(LeaseResult(3), None, LeaseResult(0)), 7, 3)
    assert await session.open(grant)
    await asyncio.wait_for(session.ended(), 10)
    assert not session.alive

    async def broken(op: LoadOperation) -> Answer | None:
        raise ZeroDivisionError("a defect")

    session = Session(broken, 7, 3)
    assert await session.open(Script(LeaseResult(3)))
    with pytest.raises(ZeroDivisionError):
        await session.ended()
    with pytest.raises(ZeroDivisionError):
        _ = session.alive
    refused = Session(broken, 8, 3)
    assert not await refused.open(Script(None))
    await refused.close()
