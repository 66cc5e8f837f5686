"""Whether this machine can hold a lab, and what to do where it cannot."""

from __future__ import annotations

import os
import shutil
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tester.orchestration.commands import run_command
from tester.orchestration.lab.spec import DEFAULT_SUBNET, LabError, LabSpec, base_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROGRAMS = {
    "ip": "iproute2",
    "mount": "mount",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
}
"""What a lab needs to run, and the Debian package that has it."""

_BASE_PROGRAMS = {"debootstrap": "debootstrap", "gpgv": "gpgv"}
"""What building the base root needs on top, once."""

_WATCH_LIMIT = "sys/fs/inotify/max_user_instances"
_WATCHES_PER_HOST = 8
"""Measured on Debian 12: five of systemd, one of its logind; and some for what people start."""

_COMMAND_SECONDS = 20.0


class _Route(msgspec.Struct, frozen=True):
    dst: str
    dev: str = ""


class _AddressInfo(msgspec.Struct, frozen=True):
    local: str = ""
    prefixlen: int = 32


class _Interface(msgspec.Struct, frozen=True):
    ifname: str = ""
    addr_info: tuple[_AddressInfo, ...] = ()


def check_rights_and_programs() -> None:
    """What no name or subnet can change.

    Raises:
        LabError: not root, or a program is missing; the remedy says what to install.
    """
    if os.geteuid() != 0:
        raise LabError(
            "a lab needs root: it makes namespaces, mounts and machines", remedy="run it with sudo"
        )
    wanted = _PROGRAMS if base_root().is_dir() else _PROGRAMS | _BASE_PROGRAMS
    missing = {package for program, package in wanted.items() if shutil.which(program) is None}
    if missing:
        raise LabError(
            f"this machine lacks {', '.join(sorted(missing))}",
            remedy=f"apt-get install {' '.join(sorted(missing))}",
        )


def check_watches(hosts: int, proc: Path = Path("/proc")) -> None:
    """Whether the kernel has inotify instances for the systemd of so many more hosts, all of them root's.

    Raises:
        LabError: it has not; the remedy raises the limit. Without them units of a host fail one by one, with
            "too many open files".
    """
    limit = int((proc / _WATCH_LIMIT).read_text())
    used = sum(_watches(process) for process in proc.iterdir() if process.name.isdecimal())
    needed = hosts * _WATCHES_PER_HOST
    if needed > limit - used:
        raise LabError(
            f"{hosts} hosts need {needed} inotify instances, and of {limit} {used} are in use",
            remedy=f"sysctl fs.inotify.max_user_instances={2 * (used + needed)}",
        )


def _watches(process: Path) -> int:
    try:
        if process.stat().st_uid != os.geteuid():
            return 0
        return sum(str(link.readlink()).endswith(":inotify") for link in (process / "fd").iterdir())
    except OSError:  # it has ended meanwhile
        return 0


async def check_subnet(spec: LabSpec) -> None:
    """Refuse a subnet that this machine already reaches by another way than this lab.

    Raises:
        LabError: an address or route overlaps; the remedy names a free subnet.
    """
    used = await used_networks(own_device=spec.switch)
    for network, device in used:
        if network.overlaps(spec.subnet):
            raise LabError(
                f"{spec.subnet} overlaps with {network} on {device or 'this machine'}",
                remedy=f"choose a range of its own, for instance --subnet {free_subnet(n for n, _ in used)}",
            )


async def used_networks(*, own_device: str) -> tuple[tuple[IPv4Network, str], ...]:
    """Networks of this machine's routes and addresses with their device, without those of ``own_device``."""
    routes = await run_command(
        ("ip", "-json", "-4", "route", "show", "table", "all"), timeout_seconds=_COMMAND_SECONDS
    )
    addresses = await run_command(("ip", "-json", "-4", "address"), timeout_seconds=_COMMAND_SECONDS)
    return tuple(parse_networks(routes, addresses, own_device=own_device))


def parse_networks(routes: str, addresses: str, *, own_device: str) -> Iterator[tuple[IPv4Network, str]]:
    """The pure part of :func:`used_networks`: what ``ip -json`` printed goes in.

    Half the Internet or more is a default route, and covers nothing in particular.
    """
    for route in msgspec.json.decode(routes, type=tuple[_Route, ...]):
        network = None if route.dst == "default" else IPv4Network(route.dst)
        if network and network.prefixlen > 1 and route.dev != own_device:
            yield network, route.dev
    for interface in msgspec.json.decode(addresses, type=tuple[_Interface, ...]):
        for info in interface.addr_info:
            if interface.ifname != own_device and info.local:
                yield IPv4Network((info.local, info.prefixlen), strict=False), interface.ifname


def free_subnet(used: Iterable[IPv4Network], *, first: int = 43) -> IPv4Network:
    """A /24 that overlaps with none of ``used``: the next after 10.86.``first``.0.

    Raises:
        LabError: this machine uses them all.
    """
    taken = tuple(used)
    for step in range(256):
        network = IPv4Network(
            (int(DEFAULT_SUBNET.network_address) & ~0xFFFF | ((first + step) % 256) << 8, 24)
        )
        if not any(network.overlaps(other) for other in taken):
            return network
    raise LabError(
        "every /24 of 10.86.0.0/16 overlaps with a route of this machine", remedy="name a --subnet"
    )
