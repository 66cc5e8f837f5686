"""A lease that somebody keeps alive."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeAlias

from tester.history.records import LeaseGrant, LeaseKeepAlive, LeaseResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tester.etcd.codec import Answer, LoadOperation

Ask: TypeAlias = "Callable[[LoadOperation], Awaitable[Answer | None]]"
"""Asks for an operation; ``None``: it failed, or nobody knows."""

_RENEWALS_PER_TTL = 3
_RETRY_SECONDS = 0.2


class Session:
    """A lease, renewed three times as often as it must be.

    Whether it is alive is judged as a careful client has to: from the time at which the last renewal that
    was answered had been *asked* for.
    """

    def __init__(
        self, keep: Ask, lease: int, ttl: int, on_renewed: Callable[[], None] = lambda: None
    ) -> None:
        """A session that is not open.

        Args:
            keep: asks for renewals.
            lease: its id, never used before.
            ttl: in seconds.
            on_renewed: called after each renewal.
        """
        self.lease = lease
        self._keep = keep
        self._ttl = ttl
        self._on_renewed = on_renewed
        self._until = 0.0
        self._keeper: asyncio.Task[None] | None = None

    async def open(self, ask: Ask) -> bool:
        """Ask for the lease; whether it was granted."""
        asked = time.monotonic()
        answer = await ask(LeaseGrant(self.lease, self._ttl))
        if answer is None:
            return False
        self._until = asked + self._ttl
        self._keeper = asyncio.create_task(self._renew(), name=f"keeper of lease {self.lease}")
        return True

    @property
    def alive(self) -> bool:
        """Whether the lease surely lives; raises what ended its keeper unless that is the lease's end."""
        if self._keeper is not None and self._keeper.done() and not self._keeper.cancelled():
            self._keeper.result()
        return time.monotonic() < self._until

    async def ended(self) -> None:
        """Wait for the lease's end."""
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
            self._keeper.result()

    async def close(self) -> None:
        """Keep it alive no longer."""
        self._until = 0.0
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def _renew(self) -> None:
        pause = self._ttl / _RENEWALS_PER_TTL
        while time.monotonic() < self._until:
            await asyncio.sleep(pause)
            asked = time.monotonic()
            answer = await self._keep(LeaseKeepAlive(self.lease))
            pause = _RETRY_SECONDS
            if answer is None or not isinstance(answer.result, LeaseResult):
                continue
            if answer.result.ttl <= 0:
                self._until = 0.0
                return
            self._until = asked + answer.result.ttl
            self._on_renewed()
            pause = self._ttl / _RENEWALS_PER_TTL
