"""Where the status is served."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from tester.errors import UsageError


@dataclass(frozen=True, slots=True)
class StatusAddress:
    """An IP address and a port; 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> StatusAddress:
    """An address out of ``127.0.0.1:9270``, ``[::1]:9270`` or ``:9270``, which is this machine alone.

    Raises:
        UsageError: it is none; a name is not taken, it may mean another interface tomorrow.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        address, number = ip_address(host), int(port)
    except ValueError:
        raise _refused(text) from None
    if not colon or not 0 <= number <= 65535:
        raise _refused(text)
    return StatusAddress(str(address), number)


def _refused(text: str) -> UsageError:
    return UsageError(
        f"--status {text}: not an address and a port",
        remedy="write 127.0.0.1:9270, or :9270 for this machine",
    )
