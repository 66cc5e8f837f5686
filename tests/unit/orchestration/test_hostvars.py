from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tester.errors import InventoryError
from tester.orchestration.hostvars import host_vars

if TYPE_CHECKING:
    from pathlib import Path


def fact(name: str, **changes: object) -> bytes:
    values: dict[str, object] = {
        "name": name,
        "ansible_port": 22,
        "etcd_address": f"192.0.2.{ord(name[-1])}",
        "etcd_agent_port": 9027,
        "etcd_client_port": 2379,
        "etcd_peer_port": 2380,
        "etcd_chaos_allow": True,
        "etcd_chaos_max_faulted": None,
        "etcd_chaos_power_on": None,
        "etcd_version": None,
        "etcd_builds": [],
        "pki_dir": "/pki",
        "groups": ["etcd"],
    }
    return json.dumps(values | changes).encode()


async def test_hosts_on_one_address_are_told_apart_by_ports(tmp_path: Path) -> None:
    a = fact("a", etcd_address="127.0.0.1")
    b = fact("b", etcd_address="127.0.0.1", etcd_agent_port=9127, etcd_client_port=3379, etcd_peer_port=3380)
    assert list(await host_vars({"a": a, "b": b}, tmp_path)) == ["a", "b"]


async def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    facts = {
        "a": fact("a", etcd_client_port=0, etcd_version="3.5 16"),
        "B_": fact("B_"),
        "c": fact("c", etcd_peer_port=2379),
        "d": fact("d", etcd_address="192.0.2.99"),  # the address of c
    }
    with pytest.raises(InventoryError) as caught:
        await host_vars(facts, tmp_path)
    lines = caught.value.message.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "host a",
        "host a",
        "host B_",
        "host c",
        *["host d"] * 2,
    ]
    assert "must differ" in lines[3]
    assert "also that of host c" in lines[4]


async def test_wrong_builds_are_the_inventorys_mistake(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"etcd_builds\[0\]"):
        await host_vars({"a": fact("a", etcd_builds=[{"source": "moon"}])}, tmp_path)


async def test_a_host_of_group_load_has_no_member(tmp_path: Path) -> None:
    facts = {"a": fact("a"), "b": fact("b", groups=["load"])}
    resolved = await host_vars(facts, tmp_path)
    assert {name: values.load for name, values in resolved.items()} == {"a": False, "b": True}
    with pytest.raises(InventoryError, match="host c is in groups etcd and load: a load host runs no member"):
        await host_vars({"c": fact("c", groups=["etcd", "load"])}, tmp_path)
