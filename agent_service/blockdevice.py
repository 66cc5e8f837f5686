"""The disk that a directory lies on, as the kernel and its cgroups name it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_SYS: Final = Path("/sys/dev/block")
_MOST_LAYERS: Final = 16
"""Of volumes on volumes."""


def disk_of(path: Path, sys: Path = _SYS) -> str | None:
    """``MAJOR:MINOR`` of the whole disk; ``None``: there is no such path, or it lies on no disk that could be named.

    Limits are on whole disks. File systems over several disks, in memory, or over the network have no number of their
    own here (their major is 0). What a logical volume or an encrypted disk lies on is limited, if it is one disk: that
    is where systemd sets its limits.
    """
    try:
        number = path.stat().st_dev
    except OSError:
        return None
    device = sys / f"{os.major(number)}:{os.minor(number)}"
    if not device.exists():
        return None
    for _ in range(_MOST_LAYERS):
        below = list((device / "slaves").glob("*"))
        if len(below) != 1:
            break
        device = sys / (below[0] / "dev").read_text(encoding="ascii").strip()
    if (device / "partition").exists():
        return (device.resolve().parent / "dev").read_text(encoding="ascii").strip()
    return device.name
