"""The hosts of a run as the inventory has them, and the tester's identity towards their agents."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from tester.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tester.orchestration.hostvars import HostVars


_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")  # as agent_service.models.HostName


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the inventory; its member has the same name.

    ``default_version`` is ``None`` when the inventory names no etcd build that has been fetched.
    ``max_faulted`` is the inventory's bound on members hit at once; ``None``: none.
    """

    name: str
    address: str
    agent_port: int
    client_port: int
    peer_port: int
    versions: tuple[str, ...]
    default_version: str | None
    max_faulted: int | None
    power_on: str | None = None
    """A program of the controller's that switches it on, called with its name; ``None``: there is none."""
    ssh_port: int = 22

    @property
    def agent_url(self) -> str:
        """Where the agent listens."""
        return f"https://{self._authority(self.agent_port)}"

    @property
    def client_url(self) -> str:
        """Where the member serves clients."""
        return f"http://{self._authority(self.client_port)}"

    @property
    def peer_url(self) -> str:
        """Where the member serves its peers."""
        return f"http://{self._authority(self.peer_port)}"

    def _authority(self, port: int) -> str:
        address = f"[{self.address}]" if ip_address(self.address).version == 6 else self.address
        return f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Files with the CA of the agents, the tester's certificate and its key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every host that may be used, in the order of their names: ``h2`` before ``h10``."""

    source: Path
    hosts: tuple[Host, ...]
    """Of group ``etcd``: each may have a member."""
    identity: Identity
    load_hosts: tuple[Host, ...] = ()
    """Of group ``load``: they have an agent, and no member."""

    @property
    def max_faulted(self) -> int | None:
        """The smallest bound that any host sets; ``None``: nobody sets one."""
        return min((host.max_faulted for host in self.hosts if host.max_faulted is not None), default=None)


def inventory_of(resolved: Mapping[str, HostVars], source: Path, *, healing: bool = False) -> Inventory:
    """Check what Ansible resolved and make it plain values.

    Args:
        resolved: the answer of ``Playbooks.resolve()``.
        source: the inventory's path, for messages.
        healing: accept hosts that must not be harmed, too: healing harms nobody, and a host may have been
            taken off limits while a fault was on it.

    Raises:
        InventoryError: a host must not be harmed, hosts do not share a folder of certificates, or a
            certificate is missing.
    """
    members = [name for name, values in resolved.items() if not values.load]
    barred = [name for name in members if not resolved[name].allow]
    if barred and not healing:
        raise InventoryError(
            f"{source}: etcd_chaos_allow is false for {', '.join(barred)}: nothing may be broken there",
            remedy="take them out of group etcd, or set etcd_chaos_allow: true where breaking things is fine",
        )
    # Draws depend on the order, and Ansible resolves hosts in whatever order they are done.
    ordered = sorted(resolved, key=_natural)
    hosts = tuple(_host(resolved[name]) for name in ordered if not resolved[name].load)
    load = tuple(_host(resolved[name]) for name in ordered if resolved[name].load)
    return Inventory(source, hosts, _identity(resolved, source), load)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts ``h2`` before ``h10``."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _host(values: HostVars) -> Host:
    if not _HOST_NAME.fullmatch(values.name):
        raise InventoryError(
            f"host {values.name!r}: a member cannot have this name",
            remedy="name hosts with letters, digits and inner dots, dashes and underscores, 63 at most",
        )
    return Host(
        name=values.name,
        address=values.address,
        agent_port=values.agent_port,
        client_port=values.client_port,
        peer_port=values.peer_port,
        versions=values.etcd_versions,
        default_version=values.default_version,
        max_faulted=values.max_faulted,
        power_on=values.power_on,
        ssh_port=values.ssh_port,
    )


def _identity(resolved: Mapping[str, HostVars], source: Path) -> Identity:
    folders = sorted({values.pki_dir for values in resolved.values()})
    if len(folders) != 1:
        raise InventoryError(
            f"{source}: one tester has one identity, and the hosts name {len(folders)} folders: "
            f"{', '.join(folders) or 'no host at all'}",
            remedy="set the folder once, for the group",
        )
    folder = Path(folders[0])
    identity = Identity(ca=folder / "ca.crt", certificate=folder / "tester.crt", key=folder / "tester.key")
    for path in (identity.ca, identity.certificate, identity.key):
        if not os.access(path, os.R_OK):
            problem = "cannot be read" if path.exists() else "there is no such file"
            raise InventoryError(
                f"{path}: {problem}, and the agents ask for it",
                remedy=f"ansible-playbook playbooks/deploy.yml -i {source}",
            )
    return identity
