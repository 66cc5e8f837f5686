"""Tasks that run beside a round. One that ends before it is told to is an error, never silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tester.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Background:
    """Starts tasks, watches over them, ends them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run ``work`` until ``stop``; it must not end by itself."""
        self._tasks.append(asyncio.create_task(work, name=name))

    def check_alive(self) -> None:
        """See that every task still runs.

        Raises:
            InfrastructureError: one has ended; its error is the cause.
        """
        for task in self._tasks:
            if task.done():
                error = None if task.cancelled() else task.exception()
                raise InfrastructureError(f"{task.get_name()} has ended: {error!r}") from error

    async def stop(self) -> None:
        """Cancel all and wait until they are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
