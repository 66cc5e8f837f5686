"""Orders of blows that fall a second later, by a process that outlives the agent (``strike.py``)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.errors import FaultFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

DELAY_SECONDS: Final = 1.0
"""Until the blow falls: the fault is written down and answered for by then."""

_PROGRAM: Final = Path(__file__).with_name("strike.py")
_NEARLY: Final = 0.8


async def give(order: Path, what: Sequence[str]) -> None:
    """Start the process that will do it; it holds the order's file locked while it lives.

    Raises:
        FaultFailedError: it cannot be started.
    """
    try:
        order.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(order, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_PROGRAM), str(descriptor), f"{DELAY_SECONDS:g}", *what),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(descriptor,),
            )
            await process.wait()  # it forks away at once
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FaultFailedError(f"cannot order {what[0]}: {error.strerror}") from error


def call_off(order: Path) -> None:
    """What has not happened yet does not happen, and nothing is left of the order. Safe to repeat."""
    order.unlink(missing_ok=True)
    with suppress(OSError):  # another order lies there, or none ever did
        order.parent.rmdir()


def stands(order: Path) -> bool:
    """Whether the process that will do it lives."""
    try:
        descriptor = os.open(order, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def stood_objection(order: Path, seconds: float) -> str | None:
    """What speaks against the agent having stood still so long; one that a watchdog ended has."""
    try:
        told = order.read_text(encoding="ascii").split()
    except FileNotFoundError:
        told = []
    if not told:
        return "the agent did not stand still"
    what, stood = told
    if what == "stood" and float(stood) < seconds * _NEARLY:
        return f"the agent stood still for {stood} s only"
    return None
