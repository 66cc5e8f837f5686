"""What a fault does, seen by etcd, by its clients or by the host's kernel: the agent's word is not asked for.

Every sight returns what it saw of the effect, and nothing where there is none: each is looked through before the
fault, while it is held by every member, and after it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from tests.lab.rig import Look
    from tests.lab.standing import Standing

ANSWER_SECONDS: Final = 2.0
WRITE_SECONDS: Final = 15.0
"""A write that a slow disk holds up is acknowledged in the end: how long it took is what is looked for."""
TRIES: Final = 3


class Sight(Protocol):
    """A way to look at the effect on one member."""

    async def __call__(self, cluster: Standing, host: str, before: Look) -> str:
        """What is seen; empty: nothing. ``before`` is the host as it was without the fault."""


def _url(cluster: Standing, host: str) -> str:
    return next(one.client_url for one in cluster.plan.hosts if one.name == host)


def _ask(url: str, body: dict[str, str] | None = None) -> str:
    """The answer's text; raises ``OSError`` where none comes."""
    data, seconds = (None, ANSWER_SECONDS) if body is None else (json.dumps(body).encode(), WRITE_SECONDS)
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=seconds) as answer:  # noqa: S310 - http
        text: str = answer.read().decode()
    return text


async def silent(cluster: Standing, host: str, before: Look) -> str:
    """Its client port answers nobody."""
    try:
        await asyncio.to_thread(_ask, f"{_url(cluster, host)}/version")
    except OSError as error:
        return f"does not answer: {error}"
    return ""


async def leaderless(cluster: Standing, host: str, before: Look) -> str:
    """It knows no leader, says its own metric."""
    try:
        metrics = await asyncio.to_thread(_ask, f"{_url(cluster, host)}/metrics")
    except OSError:
        return ""
    return "has no leader" if "\netcd_server_has_leader 0" in metrics else ""


async def another_process(cluster: Standing, host: str, before: Look) -> str:
    """It is not the process that it was, or none."""
    now = (await cluster.rig.look(host)).members
    return "" if now.keys() == before.members.keys() else f"processes {[*before.members]} -> {[*now]}"


async def another_clock(cluster: Standing, host: str, before: Look) -> str:
    """Its monotonic clock is not the host's."""
    offsets = await cluster.rig.shell(host, "cat /proc/$(pidof etcd)/timens_offsets")
    shifted = [
        line for line in offsets.splitlines() if line.startswith("monotonic") and line.split()[1] != "0"
    ]
    return "; ".join(shifted)


async def far_away(cluster: Standing, host: str, before: Look, *, seconds: float) -> str:
    """To open a connection to it takes so long at least, also in the best of some tries."""
    address = next(one for one in cluster.plan.hosts if one.name == host)
    tries = []
    for _ in range(TRIES):
        start = time.perf_counter()
        _, writer = await asyncio.open_connection(address.address, address.client_port)
        tries.append(time.perf_counter() - start)
        writer.close()
        await writer.wait_closed()
    return f"{min(tries) * 1000:.0f} ms to connect" if min(tries) >= seconds else ""


async def slow_writes(
    cluster: Standing,
    host: str,
    before: Look,
    *,
    seconds: float,
    size: int = 100,
) -> str:
    """A write through it takes so long at least, also in the best of some tries."""
    tries = []
    for _ in range(TRIES):
        start = time.perf_counter()
        try:
            await _put(cluster, host, size)
        except OSError:
            return ""  # so slow that it proves nothing: looked at again
        tries.append(time.perf_counter() - start)
    return f"{min(tries):.3f} s for a write" if min(tries) >= seconds else ""


async def _put(cluster: Standing, host: str, size: int) -> None:
    key, value = (base64.b64encode(text).decode() for text in (b"effect", bytes(size)))
    await asyncio.to_thread(_ask, f"{_url(cluster, host)}/v3/kv/put", {"key": key, "value": value})


async def ended_for(cluster: Standing, host: str, before: Look, *, why: str, size: int = 100) -> str:
    """It ends itself when it is written to, and its log says why."""
    try:
        await _put(cluster, host, size)
    except OSError:
        end = await cluster.rig.shell(host, "tail -n 40 /var/log/etcd-chaos/member.log")
        if why in end and not (await cluster.rig.look(host)).members:
            return f"etcd ended: {why}"
    return ""


FILL: Final = """
directory=$(tr '\\0' '\\n' < /proc/$(pidof etcd)/cmdline | sed -n 's/^--data-dir=//p')
setpriv --reuid "$(stat -c %u "$directory")" --clear-groups dd if=/dev/zero of="$directory/effect" bs=1M count=1 2>&1
rm -f "$directory/effect"
"""


async def full(cluster: Standing, host: str, before: Look) -> str:
    """It ends itself for want of room; or, where the others have and nothing is committed any more, has none left."""
    sight = await ended_for(cluster, host, before, why="no space left on device", size=512 * 1024)
    if sight or not (await cluster.rig.look(host)).members:
        return sight
    said = await cluster.rig.shell(host, FILL)
    return "no space left for etcd's user" if "No space left on device" in said else ""


SIGHTS: Final[dict[str, Sight]] = {
    "stop": silent,
    "kill": silent,
    "pause": silent,
    "freeze": silent,
    "lose-data": silent,
    "power-loss": silent,
    "corrupt-file": silent,
    "client-port": silent,
    "restart": another_process,
    "rolling-restart": another_process,
    "crash-loop": another_process,
    "isolate": leaderless,
    "partition": leaderless,
    "peer-port": leaderless,
    "clock-offset": another_clock,
    "network": partial(far_away, seconds=0.04),
    "slow-fsync": partial(slow_writes, seconds=0.2),
    "slow-io": partial(slow_writes, seconds=0.06),
    "disk-throttle": partial(slow_writes, seconds=0.2, size=256 * 1024),
    "io-error": partial(ended_for, why="input/output error"),
    "disk-full": full,
}
"""By kind of fault, as ``tests.lab.examples`` ask for it. A fault that hosts learn to do needs one here."""
