"""Values that several tests need."""

from __future__ import annotations

from pathlib import Path

from tester.inventory import Host, Identity, Inventory


def host(number: int, *, max_faulted: int | None = None, versions: tuple[str, ...] = ("3.5.16",)) -> Host:
    return Host(
        name=f"h{number}",
        address=f"10.207.0.{number}",
        agent_port=9027,
        client_port=2379,
        peer_port=2380,
        versions=versions,
        default_version=versions[-1] if versions else None,
        max_faulted=max_faulted,
    )


def inventory(size: int, **options: int | None) -> Inventory:
    identity = Identity(ca=Path("ca"), certificate=Path("certificate"), key=Path("key"))
    hosts = tuple(host(n, max_faulted=options.get("max_faulted")) for n in range(1, size + 1))
    return Inventory(source=Path("inventory/hosts.yml"), hosts=hosts, identity=identity)
