"""One at a time, across processes: advisory locks on files."""

from __future__ import annotations

import asyncio
import fcntl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tester.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_POLL_SECONDS = 0.1


@asynccontextmanager
async def file_lock(
    path: Path, on_progress: Callable[[str], None], *, timeout_seconds: float
) -> AsyncIterator[None]:
    """Hold the lock on ``path``; the kernel gives it back when this process dies.

    Raises:
        InfrastructureError: somebody else held it for ``timeout_seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            async with asyncio.timeout(timeout_seconds):
                await _acquire(file.fileno(), lambda: on_progress(f"waiting for another process ({path})"))
        except TimeoutError as error:
            raise InfrastructureError(
                f"{path}: held by another process for {timeout_seconds:.0f} s",
                remedy=f"see who holds it with: fuser -v {path}",
            ) from error
        yield


async def _acquire(descriptor: int, on_wait: Callable[[], None]) -> None:
    waiting = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                on_wait()
            waiting = True
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return
