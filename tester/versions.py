"""Versions of etcd in their order, and the flags that only some of them know. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tester.scenario.model import ClusterSection

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def number_of(version: str) -> tuple[int, ...] | None:
    """``(3, 5, 16)`` of ``3.5.16`` and of ``3.5.16-patched``; ``None`` where the name begins with no number."""
    found = _NUMBER.match(version)
    return tuple(map(int, found.group().split("."))) if found else None


def flags_of(section: ClusterSection, version: str) -> dict[str, str]:
    """The flags that a member of this version is started with.

    A build whose name says no number gets none but those that are for all: a flag that etcd does not know
    keeps it from starting.
    """
    number = number_of(version)
    flags = dict(section.flags)
    for entry in section.flags_by_version:
        since, below = number_of(entry.since or "0"), number_of(entry.below or "999999")
        if number is not None and since is not None and below is not None and since <= number < below:
            flags |= entry.flags
    return flags
