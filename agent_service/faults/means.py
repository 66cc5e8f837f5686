"""Finds out how a host can make traffic bad. It asks, and changes nothing."""

from __future__ import annotations

import asyncio
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec

import msgspec
import psutil

from agent_service import commands
from agent_service.errors import UnavailableError
from agent_service.faults.base import NetworkMeans
from agent_service.faults.iptables import Iptables, families_with_table
from agent_service.faults.quality import directions
from agent_service.faults.shaping import LIST_QDISCS, TC, Device, root_of
from agent_service.privileges import LinuxCapability, has_capability
from agent_service.quality import netlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.faults.selectors import Family
    from agent_service.models import NetworkFault

P = ParamSpec("P")


_NFQUEUE_WITH_BYPASS: Final = 2  # the target's revision
_LOOPBACK: Final = "lo"
_ADDRESSES_V6: Final = Path("/proc/net/if_inet6")


def find_tool(name: str) -> str | None:
    """Where a tool is; ``None``: it is not installed."""
    return shutil.which(name, path=commands.PATH)


async def find_means(state_dir: Path) -> NetworkMeans:
    """What this host can do, whatever the traffic."""
    tools, queue_lack = await _find_iptables()
    families: tuple[Family, ...] = ("ip", "ip6") if await asyncio.to_thread(_has_ipv6) else ("ip",)
    if "ip6" in families and find_tool(tools.tool("ip6", "-restore")) is None:
        families = ("ip",)
    return NetworkMeans(
        directory=str(state_dir / "network"),
        queue_lack=queue_lack,
        duplicate_lack=None if has_capability(LinuxCapability.NET_RAW) else "the agent lacks CAP_NET_RAW",
        netem_lack=_qdisc_lack("netem"),
        rate_lack=_qdisc_lack("htb"),
        iptables=tools,
        families=families,
    )


async def means_for(spec: NetworkFault, state_dir: Path) -> NetworkMeans:
    """What this host can do to this traffic.

    Raises:
        UnavailableError: a tool is missing or fails, or the host cannot do what is asked for.
    """
    means = await find_means(state_dir)
    incoming, outgoing = directions(spec, means)
    by_nftables = incoming and means.iptables.backend == "nft"
    tables = await families_with_table() if by_nftables else frozenset()
    return replace(means, tables=tables, devices=await _devices(spec) if outgoing else ())


async def _find_iptables() -> tuple[Iptables, str | None]:
    """iptables-nft rather than legacy: its rules are apart from those that others have in legacy tables."""
    if find_tool("iptables-nft-restore") is not None:
        return _with_kernel(Iptables("nft", "-nft"))
    if find_tool("iptables-restore") is None:
        return Iptables("nft", ""), "there is no iptables; install it"
    if "nf_tables" in (await commands.run(("iptables", "--version"))).stdout:
        return _with_kernel(Iptables("nft", ""))
    return Iptables("legacy", ""), _capability_lack()  # the kernel says only to rules whether it takes them


def _with_kernel(tools: Iptables) -> tuple[Iptables, str | None]:
    return tools, _capability_lack() or _asked(netlink.target_lack, "NFQUEUE", _NFQUEUE_WITH_BYPASS)


def _capability_lack() -> str | None:
    return None if has_capability(LinuxCapability.NET_ADMIN) else "the agent lacks CAP_NET_ADMIN"


def _qdisc_lack(kind: str) -> str | None:
    if find_tool(TC) is None:
        return "there is no tc; install iproute2"
    return _capability_lack() or _asked(netlink.qdisc_lack, kind)


def _asked(question: Callable[P, str | None], *arguments: P.args, **names: P.kwargs) -> str | None:
    try:
        return question(*arguments, **names)
    except OSError as error:
        return f"the kernel does not answer: {error.strerror}"


def _has_ipv6() -> bool:
    try:
        lines = _ADDRESSES_V6.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return False
    return any(line.split()[-1] != _LOOPBACK for line in lines)


class _Route(msgspec.Struct):
    dev: str


async def _devices(spec: NetworkFault) -> tuple[Device, ...]:
    """Where the selected traffic leaves: towards each peer, and for clients by whatever has an address."""
    names = {await _towards(peer.address) for peer in spec.peers}
    if spec.client_port is not None:
        names |= await asyncio.to_thread(_with_addresses)
    listing = (await commands.check(LIST_QDISCS)).stdout
    roots = {name: root_of(listing, name) for name in sorted(names - {_LOOPBACK})}
    return tuple(Device(name, root.kind, root.handle) for name, root in roots.items() if root is not None)


async def _towards(address: str) -> str:
    text = (await commands.check(("ip", "-j", "route", "get", address))).stdout
    try:
        (route,) = msgspec.json.decode(text, type=list[_Route])
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnavailableError(f"cannot read the route to {address}: {error}") from error
    return route.dev


def _with_addresses() -> set[str]:
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    kinds = {socket.AF_INET, socket.AF_INET6}
    return {
        name
        for name, addresses in psutil.net_if_addrs().items()
        if name in up and any(one.family in kinds for one in addresses)
    }
