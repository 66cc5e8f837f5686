"""What a lab is: its name, its hosts, and where everything of it lies. Touches nothing."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec

from tester.errors import InfrastructureError

DEFAULT_NAME = "default"
DEFAULT_HOSTS = 3
DEFAULT_SUBNET = IPv4Network("10.86.42.0/24")
MAX_HOSTS = 15

SUITE = "bookworm"
PACKAGES = (
    "dbus",
    "fuse3",  # libfuse, for scenarios with disk: fuse
    "iproute2",
    "iptables",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
)
"""What a host has beyond Debian's minimal root: what is asked of a user's own host, and no more."""

_BASE_REVISION = 2  # count up when roles/lab_host/tasks/base.yml changes what the base root holds
_FIRST_HOST = 11  # the first host's offset in the subnet; .1 is this machine
# No dash: a namespace is `ec-NAME` or `ec-NAME-HOST`, and an interface name holds 15 characters.
_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_MARKER = ".etcd-chaos-lab"


class LabError(InfrastructureError):
    """This machine cannot hold the lab, or a part of the lab failed."""


@dataclass(frozen=True, slots=True)
class LabHost:
    """One host of a lab and where its parts lie on this machine."""

    lab: str
    name: str
    address: IPv4Address
    directory: Path

    @property
    def root(self) -> Path:
        """Its root directory: the overlay's mount point, or a copy."""
        return self.directory / "root"

    @property
    def log(self) -> Path:
        """What its console said."""
        return self.directory / "console.log"

    @property
    def process_file(self) -> Path:
        """Which process holds it, while it is switched on."""
        return self.directory / "process.json"

    @property
    def machine(self) -> str:
        """Its network namespace, machine and cgroup name."""
        return f"ec-{self.lab}-{self.name}"


@dataclass(frozen=True, slots=True)
class LabSpec:
    """A lab as it was asked for.

    Raises:
        LabError: the name is not usable, or the hosts do not fit into the subnet.
    """

    name: str = DEFAULT_NAME
    size: int = DEFAULT_HOSTS
    subnet: IPv4Network = DEFAULT_SUBNET
    load: int = 0
    """So many of the hosts, the last ones, are of group ``load``: they get no member."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 1 <= self.size <= MAX_HOSTS:
            raise LabError(f"a lab has 1 to {MAX_HOSTS} hosts, not {self.size}")
        if not 0 <= self.load < self.size:
            raise LabError(
                f"{self.load} of {self.size} hosts cannot be for load: at least one has to have a member",
                remedy="ask for more --hosts, or for less --load",
            )
        if self.subnet.num_addresses < _FIRST_HOST + self.size + 1:
            raise LabError(
                f"{self.subnet} has no room for {self.size} hosts",
                remedy="choose a subnet of at least /27, for instance --subnet 10.86.43.0/24",
            )

    @property
    def directory(self) -> Path:
        """Everything of this lab, except the base root and what lives in /run and the kernel."""
        return lab_directory(self.name)

    @property
    def spec_file(self) -> Path:
        """Where this value is kept while the lab exists."""
        return self.directory / "lab.json"

    @property
    def inventory(self) -> Path:
        """A ready inventory directory of this lab."""
        return self.directory / "inventory"

    @property
    def power_on(self) -> Path:
        """A program that switches on the host whose name it is given."""
        return self.directory / "power-on"

    @property
    def switch(self) -> str:
        """Namespace of the bridge, and the name of the veth that reaches it from this machine."""
        return switch_name(self.name)

    @property
    def gateway(self) -> IPv4Address:
        """This machine's address in the lab."""
        return self.subnet.network_address + 1

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """``node1``, ``node2``..., in order."""
        return tuple(
            LabHost(
                lab=self.name,
                name=f"node{number}",
                address=self.subnet.network_address + (_FIRST_HOST + number - 1),
                directory=self.directory / "hosts" / f"node{number}",
            )
            for number in range(1, self.size + 1)
        )

    def host(self, name: str) -> LabHost:
        """The host of this name.

        Raises:
            LabError: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts)
        raise LabError(f"lab {self.name} has no host {name}", remedy=f"its hosts are: {names}")

    def encode(self) -> bytes:
        """As kept in ``spec_file``."""
        return msgspec.json.encode(_Kept(self.name, self.size, str(self.subnet), base_root().name, self.load))


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    size: int
    subnet: str
    base: str
    """The base root the hosts lie over: a lab never changes it while it exists."""
    load: int = 0


def load_spec(name: str) -> LabSpec | None:
    """The spec of the lab of this name, ``None`` where there is no such lab.

    Raises:
        LabError: the directory is no lab's, its spec is unreadable, or it lies over another base root.
    """
    check_name(name)
    directory = lab_directory(name)
    if not directory.exists():
        return None
    if not is_marked(directory):
        raise LabError(f"{directory} exists and is no lab's", remedy="move it away, or choose another --name")
    path = directory / "lab.json"
    remedy = f"run `etcd-chaos lab down --name {name}`, then `lab up` again"
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return None  # marked, then interrupted: nothing else was built yet
    except (OSError, msgspec.DecodeError) as error:
        raise LabError(f"{path}: {error}", remedy=remedy) from error
    if kept.base != base_root().name:
        raise LabError(
            f"lab {name} was built over {kept.base}, this version uses {base_root().name}", remedy=remedy
        )
    return LabSpec(kept.name, kept.size, IPv4Network(kept.subnet), kept.load)


def check_name(name: str) -> None:
    """Refuse a name that cannot name interfaces and directories.

    Raises:
        LabError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot name a lab",
            remedy="use up to 12 lower-case letters and digits, a letter first",
        )


def possible_hosts(name: str) -> tuple[LabHost, ...]:
    """Every host that a lab of this name can have: where to look for what is left of one."""
    return LabSpec(name, MAX_HOSTS).hosts


def labs_root() -> Path:
    """Holds one directory per lab; ``ETCD_CHAOS_LABS`` overrides it."""
    return Path(os.environ.get("ETCD_CHAOS_LABS", "/var/lib/etcd-chaos/labs"))


def lab_directory(name: str) -> Path:
    """The directory of the lab of this name."""
    return labs_root() / name


def switch_name(name: str) -> str:
    """The switch namespace of the lab of this name."""
    return f"ec-{name}"


def base_root() -> Path:
    """The cached Debian root under every host; another package list is another root."""
    cache = os.environ.get("ETCD_CHAOS_CACHE", "/var/cache/etcd-chaos")
    stamp = hashlib.sha256("\n".join((SUITE, *PACKAGES, str(_BASE_REVISION))).encode()).hexdigest()[:12]
    return Path(cache) / "lab" / f"{SUITE}-{stamp}"


def mark(directory: Path) -> None:
    """Create a directory as a lab's own: only such a directory is ever removed."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    (directory / _MARKER).touch()


def is_marked(directory: Path) -> bool:
    """Whether :func:`mark` created it."""
    return (directory / _MARKER).is_file()
