"""Telling systemd how the agent is (sd_notify): ready, stopping, alive. Silent where there is no systemd."""

from __future__ import annotations

import asyncio
import os
import socket


def notify(state: str) -> None:
    """Send one state, such as ``READY=1``, to the socket in ``NOTIFY_SOCKET``.

    Raises:
        OSError: there is a socket and it takes nothing.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # systemd's way of writing an abstract address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(state.encode())


def watchdog_seconds() -> float | None:
    """Half of the time within which systemd wants a sign of life; ``None``: it wants none of this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() and int(microseconds) else None


async def feed_watchdog() -> None:
    """Say that the event loop turns, for as long as systemd wants to hear it."""
    interval = watchdog_seconds()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
