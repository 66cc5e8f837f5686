"""A packet queue of netfilter's (``nfnetlink_queue``): packets wait in the kernel until a verdict is given.

Nothing is lost by accident: a queue that is full, or whose process has died, lets packets pass.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_service.quality import netlink

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUEUE: Final = 3 << 8
_PACKET, _VERDICT, _CONFIG, _VERDICT_BATCH = _QUEUE, _QUEUE | 1, _QUEUE | 2, _QUEUE | 3

_A_HEADER, _A_VERDICT, _A_PAYLOAD, _A_LENGTH = 1, 2, 10, 13
_C_COMMAND, _C_PARAMETERS, _C_MAX_LENGTH, _C_MASK, _C_FLAGS = 1, 2, 3, 4, 5
_BIND: Final = 1
_COPY_PACKET: Final = 2
_FAIL_OPEN, _WHOLE_SEGMENTS = 1, 4

_DROP, _ACCEPT = 0, 1

_SOL_NETLINK: Final = 270
_NO_ENOBUFS: Final = 5
_RECEIVE_BUFFER_FORCE: Final = 33  # the socket module has no name for it
_BUFFER_BYTES: Final = 16 << 20
_BIGGEST: Final = 1 << 17
"""Of one message: a packet of 64 KiB and what is told about it."""
_WHOLE_PACKET: Final = 0xFFFF

_ATTRIBUTE_BYTES: Final = netlink.ATTRIBUTE.size
_FIRST_ATTRIBUTE: Final = netlink.HEADER.size + len(netlink.netfilter(0, 0))
_ID: Final = struct.Struct(">I")
_VERDICT_HEADER: Final = struct.Struct(">II")  # verdict, id


class Packet(NamedTuple):
    """One packet in the queue. ``payload`` is its beginning, all of it if whole packets were asked for."""

    number: int
    length: int
    payload: bytes


class QueueTakenError(Exception):
    """Another process has this queue."""


class PacketQueue:
    """One queue, bound to this process; a verdict on a packet that is not there is nothing."""

    def __init__(self, number: int, *, max_packets: int, payloads: bool, whole_segments: bool) -> None:
        """Bind.

        Args:
            number: which queue.
            max_packets: more than these pass at once.
            payloads: have the packets themselves, not only their lengths.
            whole_segments: leave what the network card has merged, or a sender not yet cut, as one packet.

        Raises:
            QueueTakenError: somebody else has it.
            OSError: the kernel has no such queues, or this process lacks CAP_NET_ADMIN.
        """
        self._number = number
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.NETFILTER
        )
        try:
            # The kernel lists the queue's owner by this number: it shall be ours, and no other.
            self._socket.bind((os.getpid(), 0))
            self._socket.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _BUFFER_BYTES)
            self._socket.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
            self._configure(max_packets, payloads=payloads, whole_segments=whole_segments)
            self._socket.settimeout(0.0)
        except BaseException:
            self._socket.close()
            raise

    def _configure(self, max_packets: int, *, payloads: bool, whole_segments: bool) -> None:
        flags = _FAIL_OPEN | (_WHOLE_SEGMENTS if whole_segments else 0)
        # The kernel tells a packet's length only beside a part of it.
        copy = struct.pack(">IB", _WHOLE_PACKET if payloads else 1, _COPY_PACKET)
        self._command(netlink.attribute(_C_COMMAND, struct.pack(">BxH", _BIND, 0)))
        self._command(
            netlink.attribute(_C_PARAMETERS, copy)
            + netlink.attribute(_C_MAX_LENGTH, _ID.pack(max_packets))
            + netlink.attribute(_C_MASK, _ID.pack(_FAIL_OPEN | _WHOLE_SEGMENTS))
            + netlink.attribute(_C_FLAGS, _ID.pack(flags))
        )

    def _command(self, attributes: bytes) -> None:
        body = netlink.netfilter(socket.AF_UNSPEC, self._number) + attributes
        self._socket.send(netlink.message(_CONFIG, netlink.ACKNOWLEDGE, body))
        for kind, answer in netlink.messages(memoryview(self._socket.recv(_BIGGEST))):
            if kind == netlink.ERROR:
                self._judge(netlink.error_number(answer))
                return

    def _judge(self, number: int) -> None:
        if number in {errno.EBUSY, errno.EPERM} and _owner_listed(self._number):
            raise QueueTakenError(f"another process has packet queue {self._number}")
        if number:
            raise OSError(number, os.strerror(number))

    def fileno(self) -> int:
        """To wait for packets."""
        return self._socket.fileno()

    def packets(self, most: int) -> Iterator[Packet]:
        """What waits now, in its order of arrival, at most so many messages of it."""
        for _ in range(most):
            try:
                data = self._socket.recv(_BIGGEST)
            except BlockingIOError:
                return
            packet = read_packet(data)
            if packet is not None:
                yield packet

    def accept(self, number: int, payload: bytes | None = None) -> None:
        """Let one packet go on, as it is or as another one."""
        self._decide(_VERDICT, _ACCEPT, number, payload)

    def accept_through(self, number: int) -> None:
        """Let this packet go on and all that came before it."""
        self._decide(_VERDICT_BATCH, _ACCEPT, number)

    def drop(self, number: int) -> None:
        """Lose one packet."""
        self._decide(_VERDICT, _DROP, number)

    def _decide(self, kind: int, verdict: int, number: int, payload: bytes | None = None) -> None:
        body = netlink.netfilter(socket.AF_UNSPEC, self._number) + netlink.attribute(
            _A_VERDICT, _VERDICT_HEADER.pack(verdict, number)
        )
        if payload is not None:
            body += netlink.attribute(_A_PAYLOAD, payload)
        self._socket.send(netlink.message(kind, 0, body))

    def close(self) -> None:
        """Unbind; what still waits is lost, so decide on it first."""
        self._socket.close()


def read_packet(data: bytes) -> Packet | None:
    """A packet out of the kernel's message about it; ``None``: it is something else.

    By offsets in one buffer: this runs for every packet, and each slice would cost a tenth of it.
    """
    if len(data) < _FIRST_ATTRIBUTE or netlink.HEADER.unpack_from(data)[1] != _PACKET:
        return None
    number, length, payload = None, 0, b""
    at, end = _FIRST_ATTRIBUTE, len(data)
    while at + _ATTRIBUTE_BYTES <= end:
        size, kind = netlink.ATTRIBUTE.unpack_from(data, at)
        value, after = at + _ATTRIBUTE_BYTES, at + size
        if not value <= after <= end:
            break
        kind &= netlink.TYPE_MASK
        if kind == _A_HEADER and after - value >= _ID.size:
            number = _ID.unpack_from(data, value)[0]
        elif kind == _A_LENGTH and after - value >= _ID.size:
            length = _ID.unpack_from(data, value)[0]
        elif kind == _A_PAYLOAD:
            payload = data[value:after]
        at += (size + 3) & ~3
    return None if number is None else Packet(number, length or len(payload), payload)


# --- what the kernel lists -----------------------------------------------------------------------------------

LISTING: Final = "/proc/net/netfilter/nfnetlink_queue"


_OWNER: Final = 1
_TOTAL: Final = 7


def listed_owner(listing: str, number: int) -> int | None:
    """Which process has this queue according to ``LISTING``; ``None``: nobody."""
    return _field(listing, number, _OWNER)


def listed_total(listing: str, number: int) -> int | None:
    """How many packets have come to this queue so far; ``None``: nobody has it."""
    return _field(listing, number, _TOTAL)


def _field(listing: str, number: int, index: int) -> int | None:
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) > index and fields[0] == str(number):
            return int(fields[index])
    return None


def _owner_listed(number: int) -> bool:
    try:
        with open(LISTING, encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 10 ms of the process's start
            return listed_owner(file.read(), number) is not None
    except FileNotFoundError:
        return False
