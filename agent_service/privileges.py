"""What this process may do beyond others."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class LinuxCapability(IntEnum):
    """Bits of capability sets, as ``capabilities(7)`` numbers them."""

    KILL = 5
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21
    SYS_TIME = 25


def has_capability(capability: LinuxCapability) -> bool:
    """Whether this process has the capability in effect."""
    return (
        effective_capabilities(Path("/proc/self/status").read_text(encoding="ascii")) >> capability & 1 == 1
    )


def effective_capabilities(status: str) -> int:
    """The bit set ``CapEff`` out of the text of ``/proc/PID/status``."""
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return int(line.partition(":")[2], 16)
