"""The event loop of processes that do nothing but load a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")


def run(main: Coroutine[None, None, _T]) -> _T:
    """As ``asyncio.run``, on uvloop: a turn of it, a timer and a read from a socket cost a fraction."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
