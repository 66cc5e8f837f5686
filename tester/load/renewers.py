"""Clients that do nothing but keep a lease alive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tester.recipes.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tester.etcd.codec import Answer, LoadOperation
    from tester.load.client import Client
    from tester.load.pacer import Pacer

_BACKOFF_SECONDS = 0.2


class Renewer:
    """Grants a lease and renews it; whether one may be lost is for the checker to judge."""

    def __init__(
        self,
        client: Client,
        keeper: Client,
        pacer: Pacer,
        ttl: int,
        lease_ids: Iterator[int],
        step: Callable[[], None],
        rounds: int | None = None,
    ) -> None:
        """A renewer.

        Args:
            client: grants leases.
            keeper: renews them; it goes on while the load is paused, or they would end.
            pacer: of the grants.
            ttl: in seconds.
            lease_ids: none is used twice.
            step: called for each renewal: progress.
            rounds: how many renewals are enough; ``None``: no number is.
        """
        self._client = client
        self._keeper = keeper
        self._pacer = pacer
        self._ttl = ttl
        self._lease_ids = lease_ids
        self._step = step
        self._left = rounds
        self._enough = asyncio.Event()

    async def run(self) -> None:
        """Until there were enough renewals, or until cancelled."""
        while not self._enough.is_set():
            session = Session(self._keeper.perform, next(self._lease_ids), self._ttl, self._renewed)
            try:
                if await session.open(self._ask):
                    await self._hold(session)
            finally:
                await session.close()

    async def _hold(self, session: Session) -> None:
        """Until the lease ends, or there were enough renewals."""
        ways = [asyncio.create_task(session.ended()), asyncio.create_task(self._enough.wait())]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _renewed(self) -> None:
        self._step()
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._enough.set()

    async def _ask(self, op: LoadOperation) -> Answer | None:
        late = await self._client.turn(self._pacer)
        answer = await self._client.perform(op, late)
        if answer is None:
            await asyncio.sleep(_BACKOFF_SECONDS)
        return answer
