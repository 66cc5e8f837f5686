"""The process behind a packet queue; ``lifeline`` starts and ends it.

Its file holds the order as JSON and is its life line: it runs while it holds a lock on the file and the file has a
name. Starting it returns when it has the queue (exit status 0, the work goes on in the background) or
cannot have it (exit status 1, one line on stderr). SIGTERM lets everything that waits pass, and ends it. When
it is killed, the kernel lets new packets pass, and what waited is sent again by TCP.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import socket
import sys
import syslog
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent_service.quality.link import NS, Fate, Link, Qualities
from agent_service.quality.nfqueue import PacketQueue, QueueTakenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.quality.nfqueue import Packet

_IDLE_SECONDS: Final = 1.0
"""How long a file without a name goes unnoticed."""
_BURST: Final = 256
"""Packets taken in before those that are due are let go."""
_MOST_DESCRIPTORS: Final = 1024
_HEADER_BYTES: Final = {4: 20, 6: 40}


class NoQueueError(Exception):
    """There is nothing to do, or no way to do it; the message says why."""


class Sender:
    """Sends a packet to this host once more, as it was, by the loopback interface."""

    def __init__(self) -> None:
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._by_version = {4: socket.socket(socket.AF_INET, flags, socket.IPPROTO_RAW)}
        if socket.has_ipv6:
            self._by_version[6] = socket.socket(socket.AF_INET6, flags, socket.IPPROTO_RAW)

    def send(self, packet: bytes) -> None:
        """Once more; a packet that the host will not take twice is left at once."""
        version = packet[0] >> 4
        if version == 4:
            target = (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0)
        else:
            target = (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0)
        try:
            self._by_version[version].sendto(packet, target)
        except OSError as error:
            syslog.syslog(syslog.LOG_WARNING, f"cannot send a packet twice: {error}")


class Holder:
    """Takes packets in, holds them up, and lets them go."""

    def __init__(self, queue: PacketQueue, link: Link, chance: random.Random, sender: Sender | None) -> None:
        self._queue = queue
        self._link = link
        self._chance = chance
        self._sender = sender
        self._waiting: deque[tuple[Packet, Fate]] = deque()

    def take(self) -> None:
        """Everything that has arrived."""
        for packet in self._queue.packets(_BURST):
            fate = self._link.send(time.monotonic_ns(), packet.length)
            if fate.overtakes:
                self._queue.accept(packet.number)
            else:
                self._waiting.append((packet, fate))

    def release(self) -> float:
        """Let go what is due; the seconds until something is due again."""
        now, waiting = time.monotonic_ns(), self._waiting
        through: int | None = None
        while waiting and waiting[0][1].due_ns <= now:
            packet, fate = waiting.popleft()
            if fate.plain:
                through = packet.number
                continue
            if through is not None:  # in their order
                self._queue.accept_through(through)
                through = None
            self._treat(packet, fate)
        if through is not None:
            self._queue.accept_through(through)
        return max(0.0, (waiting[0][1].due_ns - time.monotonic_ns()) / NS) if waiting else _IDLE_SECONDS

    def _treat(self, packet: Packet, fate: Fate) -> None:
        if fate.lost:
            self._queue.drop(packet.number)
            return
        self._queue.accept(packet.number, bend(packet.payload, self._chance) if fate.corrupt else None)
        if fate.twice and self._sender is not None:
            self._sender.send(packet.payload)

    def let_all_pass(self) -> None:
        """What waits, and what came meanwhile."""
        last = [packet.number for packet, _ in self._waiting][-1:]
        last += [packet.number for packet in self._queue.packets(_BURST)][-1:]
        if last:
            self._queue.accept_through(last[-1])


def bend(packet: bytes, chance: random.Random) -> bytes:
    """Flip one bit behind the IP header: a checksum there must find it."""
    first = _HEADER_BYTES.get(packet[0] >> 4, 0) if packet else 0
    if len(packet) <= first:
        return packet
    bent = bytearray(packet)
    bent[chance.randrange(first, len(packet))] ^= 1 << chance.randrange(8)
    return bytes(bent)


def serve(holder: Holder, queue: PacketQueue, ended: int, wanted: Callable[[], bool]) -> None:
    """Hold packets up until ``ended`` can be read or nobody wants it any more."""
    patience, looked = 0.0, time.monotonic()
    while True:
        ready, _, _ = select.select([queue.fileno(), ended], [], [], min(patience, _IDLE_SECONDS))
        if ended in ready:
            break
        if queue.fileno() in ready:
            holder.take()
        patience = holder.release()
        if time.monotonic() - looked >= _IDLE_SECONDS:
            looked = time.monotonic()
            if not wanted():
                break
    holder.let_all_pass()


def take_hold(path: str) -> int:
    """Open and lock the life line; the descriptor must stay open.

    Raises:
        NoQueueError: it has been cut, or somebody else holds it.
    """
    try:
        line = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        fcntl.lockf(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise NoQueueError(f"{path}: {error.strerror}") from error
    if not has_name(line):
        raise NoQueueError(f"{path} was removed")
    return line


def has_name(line: int) -> bool:
    """Whether the file still is in its directory."""
    return os.fstat(line).st_nlink > 0


def run(path: str, ready: Callable[[], None]) -> None:
    """Do what the file says until the end.

    Raises:
        NoQueueError: it cannot be done here.
    """
    line = take_hold(path)
    with open(line, encoding="utf-8", closefd=False) as file:
        order = json.load(file)
    qualities = Qualities(**order["qualities"])
    chance = random.Random(order["seed"])  # noqa: S311 - a run can be played again
    ended, wake = socket.socketpair()
    wake.settimeout(0.0)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        queue = PacketQueue(
            order["queue"],
            max_packets=qualities.packets_in_flight(),
            payloads=qualities.needs_payloads,
            whole_segments=not qualities.per_packet,
        )
        sender = Sender() if qualities.duplicate else None
    except (OSError, QueueTakenError) as error:
        raise NoQueueError(str(error)) from error
    ready()
    try:
        serve(
            Holder(queue, Link(qualities, chance), chance, sender),
            queue,
            ended.fileno(),
            lambda: has_name(line),
        )
    finally:
        queue.close()


def main(path: str) -> int:
    """Start in the background; the exit status says whether it works."""
    answer, tell = os.pipe()
    if os.fork() == 0:
        _in_background(path, tell)
    os.close(tell)
    with os.fdopen(answer, encoding="utf-8") as said:
        complaint = said.read()
    if complaint != "ready":
        sys.stderr.write(f"{complaint or 'the process of the packet queue has ended'}\n")
    return 0 if complaint == "ready" else 1


def _in_background(path: str, tell: int) -> None:
    status = 1
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nowhere, standard)
        # Whoever started us waits until nobody has the other ends of its pipes, however many copies we were left.
        os.closerange(3, tell)
        os.closerange(tell + 1, _MOST_DESCRIPTORS)
        syslog.openlog("etcd-chaos-queue", syslog.LOG_PID)
        run(path, lambda: _tell(tell, "ready"))
        status = 0
    except NoQueueError as error:
        _tell(tell, str(error))
    except BaseException as error:  # noqa: BLE001 - the last word of a process without a terminal
        syslog.syslog(syslog.LOG_ERR, f"the packet queue fails, and lets packets pass: {error!r}")
        with suppress(OSError):  # whoever asked has had its answer
            _tell(tell, repr(error))
    finally:
        os._exit(status)


def _tell(whom: int, what: str) -> None:
    os.write(whom, what.encode())
    os.close(whom)
