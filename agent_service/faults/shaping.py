"""A fault's own queueing discipline on what a host sends: written, looked for, taken away.

An htb stands at the root, and whatever no filter names goes straight through it. The one class below it has
the rate, and a leaf: netem, or a plain queue where only a rate is asked for. It replaces only what the kernel
itself has set up (handle ``0:``), which nobody can have changed and which the kernel sets up again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service import commands
from agent_service.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from agent_service.faults.quality_steps import QdiscShapes, RemoveQdisc
    from agent_service.faults.selectors import Selector
    from agent_service.models import NetworkFault
    from agent_service.quality.link import Qualities

TC: Final = "tc"
ROOT: Final = "ec00:"
LEAF: Final = "ec01:"
_CLASS: Final = "ec00:1"
_DIRECT: Final = "ec00:0"
KERNELS_OWN: Final = "0:"
_NO_LIMIT: Final = 32_000_000_000
_BURST_SECONDS: Final = 0.01
_MIN_BURST_BYTES: Final = 5_000
_TCP: Final = 6

LIST_QDISCS: Final = (TC, "-s", "-j", "qdisc", "show")


@dataclass(frozen=True, slots=True)
class Device:
    """A network interface and the kind and handle of its root queueing discipline."""

    name: str
    kind: str
    handle: str


def check_replaceable(device: Device) -> None:
    """See that nobody has set up a queueing discipline there.

    Raises:
        RefusedError: somebody has.
    """
    if device.handle != KERNELS_OWN:
        raise RefusedError(
            f"{device.name} has a queueing discipline of somebody's own ({device.kind} {device.handle}), "
            "and it stays as it is",
            remedy=f"take it away first (tc qdisc del dev {device.name} root), or ask for what comes in",
        )


def needs_netem(spec: NetworkFault) -> bool:
    """Whether more is asked for than a rate."""
    return bool(spec.delay_seconds or spec.loss or spec.duplicate or spec.corrupt)


def shaping_batch(
    device: str,
    selected: tuple[Selector, ...],
    spec: NetworkFault,
    protected: tuple[int, ...],
    queue: Qualities,
) -> str:
    """What ``tc -batch`` reads. Filters of one family and purpose share a priority, protected ports first."""
    rate = spec.rate_bits_per_second or _NO_LIMIT
    burst = max(_MIN_BURST_BYTES, int(rate / 8 * _BURST_SECONDS))
    shape = f"rate {rate}bit ceil {rate}bit burst {burst}b cburst {burst}b"
    leaf = _netem(spec, queue) if needs_netem(spec) else f"bfifo limit {queue.backlog_bytes()}"
    lines = [
        f"qdisc add dev {device} root handle {ROOT} htb default 0",
        f"class add dev {device} parent {ROOT} classid {_CLASS} htb {shape} quantum 60000",
        f"qdisc add dev {device} parent {_CLASS} handle {LEAF} {leaf}",
        *(
            f"filter add dev {device} parent {ROOT} protocol {protocol} prio {priority} u32 "
            f"match {family} protocol {_TCP} 0xff match {family} sport {port} 0xffff flowid {_DIRECT}"
            for family, protocol, priority in (("ip", "ip", 1), ("ip6", "ipv6", 2))
            for port in protected
        ),
        *(_filter(device, one) for one in selected),
    ]
    return "".join(f"{line}\n" for line in lines)


def _filter(device: str, one: Selector) -> str:
    protocol, priority, bits = ("ip", 3, 32) if one.family == "ip" else ("ipv6", 4, 128)
    address = f"match {one.family} dst {one.address}/{bits} " if one.address is not None else ""
    side, port = ("sport", one.own_port) if one.own_port is not None else ("dport", one.other_port)
    return (
        f"filter add dev {device} parent {ROOT} protocol {protocol} prio {priority} u32 "
        f"match {one.family} protocol {_TCP} 0xff {address}match {one.family} {side} {port} 0xffff "
        f"flowid {_CLASS}"
    )


def _netem(spec: NetworkFault, queue: Qualities) -> str:
    parts = [f"netem limit {queue.packets_in_flight()}"]
    if spec.delay_seconds:
        parts.append(f"delay {_microseconds(spec.delay_seconds)}")
        if spec.jitter_seconds:
            curve = "" if spec.distribution == "uniform" else f" distribution {spec.distribution}"
            parts.append(f"{_microseconds(spec.jitter_seconds)}{curve}")
    if spec.loss:
        parts.append(f"loss {_percent(spec.loss)}")
        if spec.loss_correlation:
            parts.append(_percent(spec.loss_correlation))
    for name, share in (("duplicate", spec.duplicate), ("corrupt", spec.corrupt), ("reorder", spec.reorder)):
        if share:
            parts.append(f"{name} {_percent(share)}")
    return " ".join(parts)


def _microseconds(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"


def _percent(share: float) -> str:
    return f"{share * 100:.4f}%"


# --- reading what tc lists --------------------------------------------------------------------------------------


class Qdisc(msgspec.Struct):
    """One queueing discipline of ``tc -s -j qdisc show``."""

    kind: str
    handle: str
    dev: str
    root: bool = False
    parent: str = ""
    bytes: int = 0
    packets: int = 0
    drops: int = 0


def read_qdiscs(listing: str) -> list[Qdisc]:
    """Every queueing discipline of the host; raises ``UnavailableError`` for what is no such list."""
    try:
        return msgspec.json.decode(listing, type=list[Qdisc])
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"cannot read what tc lists: {error}") from error


def root_of(listing: str, device: str) -> Qdisc | None:
    """The root of a device; ``None``: there is no such device (any more)."""
    return next((one for one in read_qdiscs(listing) if one.dev == device and one.root), None)


def leaf_of(listing: str, device: str) -> Qdisc | None:
    """The fault's own leaf; ``None``: it is not there."""
    for one in read_qdiscs(listing):
        if one.dev == device and one.handle == LEAF and one.parent == _CLASS:
            return one
    return None


class _Flow(msgspec.Struct):
    flowid: str = ""


class _Filter(msgspec.Struct):
    options: _Flow = msgspec.field(default_factory=_Flow)


def missing_shape(qdiscs: str, filters: str, check: QdiscShapes) -> str | None:
    """What the listings lack of what the fault put there; ``None``: it is all in place."""
    root, leaf = root_of(qdiscs, check.device), leaf_of(qdiscs, check.device)
    if root is None or (root.kind, root.handle) != ("htb", ROOT):
        return f"the root of {check.device} is not htb {ROOT}"
    if leaf is None or leaf.kind != check.leaf:
        return f"{check.device} has no {check.leaf} {LEAF}"
    try:
        found = [one.options.flowid for one in msgspec.json.decode(filters, type=list[_Filter])]
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"cannot read what tc lists: {error}") from error
    if found.count(_CLASS) != check.filters or found.count(ROOT) != check.exempt:
        return f"{check.device} has {found.count(_CLASS)} filters instead of {check.filters}"
    return None


def filters_argv(device: str) -> tuple[str, ...]:
    """List the filters of a device."""
    return (TC, "-j", "filter", "show", "dev", device)


async def remove(step: RemoveQdisc) -> None:
    """Take the fault's own root away, and no other."""
    root = root_of((await commands.check(LIST_QDISCS)).stdout, step.device)
    if root is not None and root.handle == ROOT:
        await commands.check((TC, "qdisc", "del", "dev", step.device, "root", "handle", ROOT))
