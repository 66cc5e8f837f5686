"""The leases that keys of a mix hang on."""

from itertools import count

from tester.history.records import LeaseGrant, LeaseRevoke
from tester.load.leasepool import LeasePool


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def granted(pool: LeasePool) -> list[LeaseGrant]:
    """Grant until the pool has all that it wants."""
    grants = []
    for asked in (pool.next() for _ in range(12)):
        if isinstance(asked, LeaseGrant):
            pool.learn(asked)
            grants.append(asked)
    return grants


def test_half_of_the_leases_end_and_half_are_revoked() -> None:
    pool, revoked, grants = LeasePool(count(1)), list[int](), dict[int, int]()
    puts = dict[int, int]()
    for _ in range(600):
        asked = pool.next()
        if isinstance(asked, LeaseGrant):
            grants[asked.l] = asked.ttl
            pool.learn(asked)
        elif isinstance(asked, LeaseRevoke):
            revoked.append(asked.l)
        else:
            assert asked in grants
            assert asked not in revoked
            puts[asked] = puts.get(asked, 0) + 1
    short, long = min(grants.values()), max(grants.values())
    done = [lease for lease, times in puts.items() if times == max(puts.values())]
    assert len(done) > 8
    assert revoked
    assert {grants[lease] for lease in revoked} == {long}
    assert {grants[lease] for lease in done if lease not in revoked} >= {short}
    assert len(revoked) == len(set(revoked))


def test_no_key_is_put_with_a_lease_that_is_about_to_end() -> None:
    clock = Clock()
    pool = LeasePool(count(1), clock)
    grants = granted(pool)
    ending = {grant.l for grant in grants if grant.ttl == min(one.ttl for one in grants)}
    assert 0 < len(ending) < len(grants)
    clock.now += min(grant.ttl for grant in grants) - 0.5
    asked = [pool.next() for _ in range(20)]
    assert not ending & {one for one in asked if isinstance(one, int)}
    assert any(isinstance(one, LeaseGrant) for one in asked)


def test_a_lease_whose_put_failed_gets_no_more_keys() -> None:
    pool = LeasePool(count(1))
    granted(pool)
    (lost,) = {lease for lease in (pool.next(),) if isinstance(lease, int)}
    pool.lost(lost)
    asked = list[int]()
    for _ in range(40):
        one = pool.next()
        if isinstance(one, LeaseGrant):
            pool.learn(one)
        elif isinstance(one, int):
            asked.append(one)
    assert asked
    assert lost not in asked


def test_a_grant_that_nobody_answered_is_asked_for_anew() -> None:
    pool = LeasePool(count(1))
    first, second = pool.next(), pool.next()
    assert isinstance(first, LeaseGrant)
    assert isinstance(second, LeaseGrant)
    assert first.l != second.l
    assert first.ttl == second.ttl
