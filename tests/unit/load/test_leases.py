"""What the lease stresser asks for."""

from __future__ import annotations

from collections import Counter
from itertools import count, pairwise
from random import Random
from typing import TYPE_CHECKING

from tester.history.records import (
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Put,
    Range,
)
from tester.load.engine import lease_ids
from tester.load.leases import LeaseMix, LeaseSource

if TYPE_CHECKING:
    from tester.etcd.codec import LoadOperation

MIX = LeaseMix(leases=4, keys=3, ttl=60, short_ttl=2, keepalive=0.5, value_size=20)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn(number: int, *, dead: bool = False, step: float = 0.01) -> list[tuple[float, LoadOperation]]:
    clock = Clock()
    source = LeaseSource(MIX, "p/", Random(1), count(1), count(7), clock)
    found = []
    for _ in range(number):
        op = source.draw()
        found.append((clock.now, op))
        clock.now += step
        ttl = op.ttl if isinstance(op, LeaseGrant) else -1 if dead else 5
        source.learn(op, 9, LeaseResult(ttl))
    return found


def test_leases_are_granted_filled_renewed_revoked_and_left_to_end() -> None:
    ops = drawn(3000)
    kinds = Counter(type(op) for _, op in ops)
    assert kinds.keys() == {LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, Put, Range}
    grants = {op.l: (at, op.ttl) for at, op in ops if isinstance(op, LeaseGrant)}
    assert {ttl for _, ttl in grants.values()} == {60, 2}
    assert len(grants) == kinds[LeaseGrant]
    assert all(op.l in grants for _, op in ops if isinstance(op, Put | LeaseKeepAlive | LeaseRevoke))
    # short ones are neither renewed nor revoked
    assert {grants[op.l][1] for _, op in ops if isinstance(op, LeaseKeepAlive | LeaseRevoke)} == {60}
    revoked = {op.l: at for at, op in ops if isinstance(op, LeaseRevoke)}
    assert not any(revoked.get(op.l, 99.0) < at for at, op in ops if isinstance(op, Put | LeaseKeepAlive))
    values = [op.v for _, op in ops if isinstance(op, Put)]
    assert len(set(values)) == len(values)


def test_a_living_lease_is_renewed_in_time() -> None:
    ops = drawn(3000)
    revoked = {op.l: at for at, op in ops if isinstance(op, LeaseRevoke)}
    renewed: dict[int, list[float]] = {op.l: [at] for at, op in ops if isinstance(op, LeaseGrant)}
    for at, op in ops:
        if isinstance(op, LeaseKeepAlive):
            renewed[op.l].append(at)
    for times in (renewed[lease] for lease in revoked):
        assert all(after - before < 1.5 for before, after in pairwise(times))


def test_no_more_leases_are_alive_than_asked_for() -> None:
    alive: set[int] = set()
    for _, op in drawn(2000):
        if isinstance(op, LeaseGrant) and op.ttl == 60:
            alive.add(op.l)
        elif isinstance(op, LeaseRevoke):
            alive.discard(op.l)
        assert len(alive) <= MIX.leases


def test_a_lease_that_is_gone_is_given_up() -> None:
    ops = drawn(500, dead=True)
    gone = set()
    for _, op in ops:
        if isinstance(op, LeaseKeepAlive | Put):
            assert op.l not in gone
        if isinstance(op, LeaseKeepAlive | LeaseTimeToLive):
            gone.add(op.l)
    assert gone


def test_ids_of_leases_are_positive_and_of_one_load() -> None:
    one, same, other = (lease_ids(seed) for seed in (1, 1, 2))
    first = next(one)
    assert first == next(same) != next(other)
    assert 0 < first < 2**63 - 2**20
    assert next(one) == first + 1
