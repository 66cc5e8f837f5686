"""Messages between user space and the kernel: just what packet queues and questions about the kernel need."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTE: Final = 0
NETFILTER: Final = 12

REQUEST: Final = 0x1
ACKNOWLEDGE: Final = 0x4
REPLACE: Final = 0x100
CREATE: Final = 0x400

ERROR: Final = 2
"""Type of the kernel's answer: an error number, 0 for success."""

HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_NETFILTER: Final = struct.Struct(">BBH")  # family, version, resource
_QDISC: Final = struct.Struct("=BxxxiIII")  # family, interface, handle, parent, info
TYPE_MASK: Final = 0x3FFF
_ANSWER_SECONDS: Final = 5.0

_NEW_QDISC: Final = 36
_ROOT: Final = 0xFFFFFFFF
_LOOPBACK: Final = 1
_QDISC_KIND: Final = 1

_XTABLES_COMPAT: Final = 11 << 8
_COMPAT_NAME, _COMPAT_REVISION, _COMPAT_TYPE = 1, 2, 3
_IS_TARGET: Final = 1


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """A whole message to the kernel."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, sequence, 0) + body


def netfilter(family: int, resource: int) -> bytes:
    """The header of netfilter's messages; ``resource`` is a queue's number, for one."""
    return _NETFILTER.pack(family, 0, resource)


def messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and body of each message in what the kernel has sent."""
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        if not HEADER.size <= length <= len(data):
            return
        yield kind, data[HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def error_number(body: memoryview) -> int:
    """What an ``ERROR`` message says, positive; 0: it was done."""
    number: int = struct.unpack_from("=i", body)[0]
    return -number


def ask(protocol: int, request: bytes) -> int:
    """Send one message that wants an acknowledgement; the error number, 0 for success.

    Raises:
        OSError: no such sockets here, or no answer.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as channel:
        channel.settimeout(_ANSWER_SECONDS)
        channel.send(request)
        for kind, body in messages(memoryview(channel.recv(65536))):
            if kind == ERROR:
                return error_number(body)
    return 0


# --- what this kernel knows ----------------------------------------------------------------------------------


def qdisc_lack(kind: str) -> str | None:
    """Why this kernel has no such queueing discipline; ``None``: it has.

    Asked by one without its options: the kernel looks for the discipline first and then refuses to make it.
    """
    body = _QDISC.pack(socket.AF_UNSPEC, _LOOPBACK, 0, _ROOT, 0) + attribute(
        _QDISC_KIND, kind.encode() + b"\0"
    )
    number = ask(ROUTE, message(_NEW_QDISC, ACKNOWLEDGE | CREATE | REPLACE, body))
    if number == errno.EINVAL:
        return None
    if number == errno.ENOENT:
        return f"this kernel has no {kind} (sch_{kind})"
    return f"this kernel does not say whether it has {kind}: {os.strerror(number)}"


def target_lack(name: str, revision: int) -> str | None:
    """Why rules of iptables-nft cannot have this target; ``None``: they can."""
    body = (
        netfilter(socket.AF_INET, 0)
        + attribute(_COMPAT_NAME, name.encode() + b"\0")
        + attribute(_COMPAT_REVISION, struct.pack(">I", revision))
        + attribute(_COMPAT_TYPE, struct.pack(">I", _IS_TARGET))
    )
    number = ask(NETFILTER, message(_XTABLES_COMPAT, ACKNOWLEDGE, body))
    return f"this kernel has no target {name} for iptables-nft: {os.strerror(number)}" if number else None
