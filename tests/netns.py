"""Network namespaces for tests: whatever listens in one meets nobody else's ports."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Namespace:
    """A network namespace with loopback up."""

    name: str

    def command(self, *argv: str) -> tuple[str, ...]:
        """``argv``, run inside. (``ip netns exec`` would hide cgroups: it remounts /sys.)"""
        return ("nsenter", f"--net=/run/netns/{self.name}", *argv)


def create() -> Namespace:
    namespace = Namespace(f"ec-test-{secrets.token_hex(4)}")
    _ip("netns", "add", namespace.name)
    try:
        _ip("-netns", namespace.name, "link", "set", "lo", "up")
    except BaseException:
        remove(namespace)
        raise
    return namespace


def remove(namespace: Namespace) -> None:
    _ip("netns", "delete", namespace.name)


def _ip(*arguments: str) -> None:
    command: Sequence[str] = ("ip", *arguments)
    subprocess.run(command, check=True, timeout=20)
