"""Why this host cannot have a layer under its member's data."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings

_SONAMES: Final = ("libfuse3.so.3", "libfuse3.so.4")


def layer_lack(settings: AgentSettings) -> str | None:
    """What is missing; ``None``: nothing that can be seen without mounting."""
    if importlib.util.find_spec("mfusepy") is None:
        return "the agent's environment lacks mfusepy: run playbooks/deploy.yml"
    if not any(map(_loads, _SONAMES)):
        return "there is no libfuse3; install fuse3"
    device = _device(settings)
    if not device.exists():
        return f"there is no {device}: load the fuse module, or give this container the device"
    if settings.supervisor == "process" and os.geteuid() != 0:
        return "the agent is not root and may not mount"
    return None


def _device(settings: AgentSettings) -> Path:
    """Of the host: a hardened unit has a /dev of its own, and its layer has not."""
    return Path("/proc/1/root/dev/fuse" if settings.supervisor == "systemd" else "/dev/fuse")


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
