"""Time namespaces as the agent sees them: which one a process is in, and by how much its clocks are off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_service.processes import ProcessId

_OWN = Path("/proc/self/ns/time")


def is_there() -> bool:
    """Whether the kernel has them (CONFIG_TIME_NS)."""
    return _OWN.exists()


def offset_seconds(process: ProcessId) -> float | None:
    """How far CLOCK_MONOTONIC of a process is ahead of this host's; ``None``: it is the host's own clock.

    Raises:
        OSError: the process is gone, or may not be looked at.
    """
    proc = Path(f"/proc/{process.pid}")
    if (proc / "ns/time").stat().st_ino == _OWN.stat().st_ino:
        return None
    return parse_offset((proc / "timens_offsets").read_text(encoding="ascii"))


def parse_offset(text: str) -> float:
    """Seconds of CLOCK_MONOTONIC, out of the text of ``/proc/PID/timens_offsets``."""
    seconds, nanoseconds = next(line for line in text.splitlines() if line.startswith("monotonic")).split()[
        1:
    ]
    return int(seconds) + int(nanoseconds) / 1e9
