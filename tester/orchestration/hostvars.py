"""What the inventory says about each host, templated by Ansible and validated here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from agent_service.models import AbsolutePath, Address, Name, Port, Version
from tester.errors import InventoryError
from tester.orchestration.builds import find_build, version_order
from tester.orchestration.sources import parse_sources

if TYPE_CHECKING:
    import msgspec

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostVars:
    """One host of group ``etcd``, or of group ``load``.

    ``etcd_versions`` are those of the host's builds that the controller has in its cache, oldest first;
    ``default_version`` is the inventory's ``etcd_version``, else the newest of them; ``None``: deploy first.
    ``pki_dir`` is the controller's folder with the CA and the tester's certificate.
    """

    name: str
    address: str
    agent_port: int
    client_port: int
    peer_port: int
    allow: bool
    etcd_versions: tuple[str, ...]
    default_version: str | None
    pki_dir: str
    max_faulted: int | None
    power_on: str | None
    load: bool = False
    """Of group ``load``: it has an agent, and no member."""
    ssh_port: int = 22


class _Resolved(BaseModel):
    """The fact that ``playbooks/resolve.yml`` sets, as Ansible templated it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    ansible_port: Port
    etcd_address: Address
    etcd_agent_port: Port
    etcd_client_port: Port
    etcd_peer_port: Port
    etcd_chaos_allow: StrictBool
    etcd_chaos_max_faulted: Annotated[int, Field(ge=0, le=15)] | None
    etcd_chaos_power_on: AbsolutePath | None
    etcd_version: Version | None
    etcd_builds: list[Mapping[str, object]]
    pki_dir: AbsolutePath
    groups: list[str]


async def host_vars(facts: Mapping[str, bytes | msgspec.Raw], cache: Path) -> dict[str, HostVars]:
    """Validate what was resolved, every mistake of every host at once.

    Args:
        facts: the resolved fact as JSON by host, in the inventory's order.
        cache: the cache folder, to tell which versions the builds have.

    Raises:
        InventoryError: a variable is wrong, or two hosts share an address and port.
    """
    mistakes: list[str] = []
    resolved: dict[str, _Resolved] = {}
    for host, fact in facts.items():
        try:
            resolved[host] = _Resolved.model_validate_json(bytes(fact))
        except ValidationError as error:
            mistakes += [f"host {host}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    mistakes += _shared_ports(resolved)
    mistakes += [
        f"host {host} is in groups etcd and load: a load host runs no member"
        for host, values in resolved.items()
        if {"etcd", "load"} <= {*values.groups}
    ]
    if mistakes:
        raise InventoryError(
            "\n".join(mistakes),
            remedy="correct the inventory; a host whose ansible_host is no IP address needs an etcd_address",
        )
    return {host: await asyncio.to_thread(_host_vars, values, cache) for host, values in resolved.items()}


def _shared_ports(resolved: Mapping[str, _Resolved]) -> list[str]:
    seen: dict[tuple[str, int], str] = {}
    mistakes = []
    for host, values in resolved.items():
        for port in (values.etcd_agent_port, values.etcd_client_port, values.etcd_peer_port):
            other = seen.setdefault((values.etcd_address, port), host)
            if other != host:
                mistakes.append(f"host {host}: {values.etcd_address}:{port} is also that of host {other}")
        if len({values.etcd_agent_port, values.etcd_client_port, values.etcd_peer_port}) < len(_PORTS):
            mistakes.append(f"host {host}: {', '.join(_PORTS)} must differ")
    return mistakes


_PORTS = ("etcd_agent_port", "etcd_client_port", "etcd_peer_port")


def _host_vars(values: _Resolved, cache: Path) -> HostVars:
    builds = (find_build(source, cache) for source in parse_sources(values.etcd_builds))
    versions = sorted({build.version for build in builds if build}, key=version_order)
    return HostVars(
        name=values.name,
        address=values.etcd_address,
        agent_port=values.etcd_agent_port,
        client_port=values.etcd_client_port,
        peer_port=values.etcd_peer_port,
        allow=values.etcd_chaos_allow,
        etcd_versions=tuple(versions),
        default_version=values.etcd_version or (versions[-1] if versions else None),
        pki_dir=values.pki_dir,
        max_faulted=values.etcd_chaos_max_faulted,
        power_on=values.etcd_chaos_power_on,
        load="load" in values.groups,
        ssh_port=values.ansible_port,
    )
