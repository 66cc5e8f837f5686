"""Two hosts on a wire, one of which has its UDP packets go through a packet queue."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_service.faults.quality import QUEUE
from agent_service.quality import lifeline, nfqueue
from tests import netns
from tests.agent.hosts import inside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent_service.quality.link import Qualities

PORT = 5000
ADDRESSES = {socket.AF_INET: "10.209.0.2", socket.AF_INET6: "fd09::2"}
GAP_SECONDS = 0.0002
_RECEIVE_BUFFER_FORCE = 33
_BUFFER_BYTES = 1 << 24

RULES = f"""\
*mangle
-A INPUT ! -i lo -p udp --dport {PORT} -j NFQUEUE --queue-num {QUEUE} --queue-bypass
COMMIT
"""


@dataclass(frozen=True)
class Seen:
    """Packets in their order of arrival: their numbers, and the seconds that each was on its way."""

    numbers: list[int]
    delays: list[float]


@dataclass(frozen=True)
class Pair:
    """The hosts."""

    sender: netns.Namespace
    receiver: netns.Namespace
    directory: Path
    family: socket.AddressFamily = socket.AF_INET

    @asynccontextmanager
    async def queue(self, qualities: Qualities) -> AsyncIterator[Path]:
        """A packet queue while it lasts; yields its life line."""
        line = self.directory / "line.json"
        order = json.dumps({"queue": QUEUE, "seed": 1, "qualities": qualities._asdict()})
        await self._start(line, order)
        try:
            yield line
        finally:
            await lifeline.end(line)

    async def _start(self, line: Path, order: str) -> None:
        await inside(self.receiver, lambda: asyncio.run(lifeline.start(line, order)))

    async def send(
        self, packets: int, *, gap_seconds: float = GAP_SECONDS, patience_seconds: float = 0.5
    ) -> Seen:
        """Send numbered packets and wait until none has come for some time."""
        receiver = await inside(self.receiver, lambda: socket.socket(self.family, socket.SOCK_DGRAM))
        sender = await inside(self.sender, lambda: socket.socket(self.family, socket.SOCK_DGRAM))
        with receiver, sender:
            receiver.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _BUFFER_BYTES)
            receiver.bind((ADDRESSES[self.family], PORT))
            receiver.settimeout(patience_seconds)
            sender.connect((ADDRESSES[self.family], PORT))
            return await asyncio.to_thread(_exchange, sender, receiver, packets, gap_seconds)

    async def until_connected(self) -> None:
        """Wait until packets get through: IPv6 takes a second to see that nobody else has its address."""
        async with asyncio.timeout(20):
            while not (await self.send(1)).numbers:
                pass

    async def until_queued(self, packets: int) -> None:
        """Wait until so many packets have come to the queue."""
        async with asyncio.timeout(10):
            while (nfqueue.listed_total(await self._listing(), QUEUE) or 0) < packets:  # noqa: ASYNC110 - the kernel's list
                await asyncio.sleep(0.01)

    async def owner(self) -> int | None:
        """The process that has the queue."""
        return nfqueue.listed_owner(await self._listing(), QUEUE)

    async def bad_checksums(self) -> int:
        """UDP packets that the receiver found to be bent."""
        names, values = (
            line.split()
            for line in (await self._read("/proc/thread-self/net/snmp")).splitlines()
            if line.startswith("Udp:")
        )
        return int(values[names.index("InErrors")])

    async def _listing(self) -> str:
        return await self._read("/proc/thread-self/net/netfilter/nfnetlink_queue")

    async def _read(self, path: str) -> str:
        return await inside(self.receiver, lambda: Path(path).read_text(encoding="ascii"))


def _exchange(sender: socket.socket, receiver: socket.socket, packets: int, gap_seconds: float) -> Seen:
    arrived: list[tuple[int, int]] = []

    def receive() -> None:
        while True:
            try:
                data = receiver.recv(2048)
            except TimeoutError:
                return
            arrived.append((int.from_bytes(data[:4], "big"), time.monotonic_ns()))

    thread = threading.Thread(target=receive)
    thread.start()
    sent = []
    for number in range(packets):
        sent.append(time.monotonic_ns())
        sender.send(number.to_bytes(4, "big") + bytes(196))
        time.sleep(gap_seconds)
    thread.join()
    return Seen([number for number, _ in arrived], [(at - sent[number]) / 1e9 for number, at in arrived])


@contextmanager
def pair_of(directory: Path) -> Iterator[Pair]:
    """Two hosts; nothing is left of them."""
    made: list[netns.Namespace] = []
    try:
        made.append(sender := netns.create())
        made.append(receiver := netns.create())
        _ip(
            "-n",
            sender.name,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            receiver.name,
        )
        for number, space in enumerate(made, 1):
            _ip("-n", space.name, "address", "add", f"10.209.0.{number}/24", "dev", "eth0")
            _ip("-n", space.name, "address", "add", f"fd09::{number}/64", "dev", "eth0", "nodad")
            _ip("-n", space.name, "link", "set", "eth0", "up")
        for program in ("iptables-nft-restore", "ip6tables-nft-restore"):
            restore = receiver.command(program, "--noflush")
            subprocess.run(restore, input=RULES, text=True, check=True, timeout=20)
        yield Pair(sender, receiver, directory)
    finally:
        for namespace in made:
            netns.remove(namespace)


def _ip(*arguments: str) -> None:
    subprocess.run(["/usr/sbin/ip", *arguments], check=True, timeout=20)
