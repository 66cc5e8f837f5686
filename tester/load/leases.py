"""What clients do with leases: grant, attach keys, keep alive, revoke half, let the short ones end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.records import (
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Put,
    Range,
    Result,
)
from tester.load import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tester.etcd.codec import LoadOperation

_SHARED_KEYS = 5
_SHARED_SHARE = 0.05
"""Share of puts that go to a key of all leases of a client: it moves from lease to lease."""
_READ_SHARE = 0.2
_TTL_SHARE = 0.3
"""Of the reads: how many ask for the time to live; the others read the keys of a lease."""


@dataclass(frozen=True, slots=True)
class LeaseMix:
    """Leases of one client. Times in seconds."""

    leases: int = 10
    """Of each kind, alive at a time."""
    keys: int = 10
    """Attached to each."""
    ttl: int = 120
    short_ttl: int = 2
    """Of leases that nobody renews."""
    keepalive: float = 0.5
    """Pause between two renewals of a lease."""
    value_size: int = 100


@dataclass(slots=True)
class _Lease:
    number: int
    short: bool
    until: float
    """Short ones are forgotten after this."""
    renew_at: float
    keys: int = 0


class LeaseSource:
    """Operations of one client. Whatever fails is simply asked for again, with another lease or value."""

    def __init__(
        self,
        mix: LeaseMix,
        prefix: str,
        rng: Random,
        value_ids: Iterator[int],
        lease_ids: Iterator[int],
        now: Callable[[], float],
    ) -> None:
        """A source for one client.

        Args:
            mix: what to do.
            prefix: of every key, this client's alone.
            rng: owned by this source.
            value_ids: shared by all clients of a run.
            lease_ids: likewise; none is used twice.
            now: seconds on a clock that does not go back.
        """
        self._mix = mix
        self._prefix = prefix
        self._rng = rng
        self._value_ids = value_ids
        self._lease_ids = lease_ids
        self._now = now
        self._leases: dict[int, _Lease] = {}
        self._doomed: list[int] = []
        """Long leases that are to be revoked."""

    def draw(self) -> LoadOperation:
        """The next operation: what is due first, then what is missing, then a read."""
        now = self._now()
        self._forget(now)
        due = min(
            (lease for lease in self._leases.values() if not lease.short),
            key=lambda lease: lease.renew_at,
            default=None,
        )
        if due is not None and due.renew_at <= now:
            due.renew_at = now + self._mix.keepalive
            return LeaseKeepAlive(due.number)
        if self._leases and self._rng.random() < _READ_SHARE:
            return self._read()
        if self._doomed:
            return self._revoke()
        return self._grow()

    def learn(self, op: LoadOperation, revision: int, result: Result | None) -> None:  # noqa: ARG002 - the protocol's
        """Take in an acknowledged answer."""
        if isinstance(op, LeaseGrant):
            self._granted(op)
        elif isinstance(op, LeaseKeepAlive | LeaseTimeToLive):
            gone = 0 if isinstance(op, LeaseKeepAlive) else -1
            if isinstance(result, LeaseResult) and result.ttl <= gone:
                self._leases.pop(op.l, None)
        elif isinstance(op, Put) and (lease := self._leases.get(op.l)) is not None:
            lease.keys += 1

    def lost(self, op: LoadOperation) -> None:
        """Nothing is to be remembered: what failed is asked for again, with another lease or value."""

    def _granted(self, op: LeaseGrant) -> None:
        now = self._now()
        short = op.ttl == self._mix.short_ttl
        renew_at = now + self._mix.keepalive * self._rng.random()
        self._leases[op.l] = _Lease(op.l, short, now + op.ttl, renew_at)

    def _forget(self, now: float) -> None:
        over = [lease.number for lease in self._leases.values() if lease.short and lease.until < now]
        for number in over:
            del self._leases[number]

    def _read(self) -> LoadOperation:
        lease = self._rng.choice(list(self._leases))
        if self._rng.random() < _TTL_SHARE:
            return LeaseTimeToLive(lease)
        prefix = f"{self._prefix}{lease:x}/"
        return Range(k=prefix, e=prefix[:-1] + "0")  # "0" comes after "/"

    def _revoke(self) -> LeaseRevoke:
        number = self._doomed.pop()
        self._leases.pop(number, None)
        return LeaseRevoke(number)

    def _grow(self) -> LoadOperation:
        long = [lease for lease in self._leases.values() if not lease.short]
        short = len(self._leases) - len(long)
        hungry = [lease for lease in self._leases.values() if lease.keys < self._mix.keys]
        if hungry:
            return self._put(self._rng.choice(hungry).number)
        if short < min(self._mix.leases, len(long)):
            return LeaseGrant(next(self._lease_ids), self._mix.short_ttl)
        if len(long) < self._mix.leases:
            return LeaseGrant(next(self._lease_ids), self._mix.ttl)
        self._doomed = self._rng.sample([lease.number for lease in long], (len(long) + 1) // 2)
        return self._revoke()

    def _put(self, lease: int) -> Put:
        value = values.text(next(self._value_ids), self._mix.value_size)
        if self._rng.random() < _SHARED_SHARE:
            return Put(f"{self._prefix}shared{self._rng.randrange(_SHARED_KEYS)}", value, lease)
        return Put(f"{self._prefix}{lease:x}/k{self._leases[lease].keys:04d}", value, lease)
