from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from tester.orchestration.lab import LabError, LabSpec
from tester.orchestration.lab.inventory import render_inventory
from tester.orchestration.lab.spec import (
    MAX_HOSTS,
    base_root,
    is_marked,
    load_spec,
    mark,
    possible_hosts,
)

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCD_CHAOS_LABS", str(tmp_path / "labs"))
    return tmp_path / "labs"


def test_names_fit_where_they_go() -> None:
    for host in possible_hosts("a" * 12):
        assert len(host.machine) <= 64
    assert len(LabSpec("a" * 12).switch) <= 15


@pytest.mark.parametrize("name", ["", "Lab", "a-b", "../x", "1a", "a" * 13, "a\n"])
def test_a_name_that_cannot_name_a_lab_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab"):
        LabSpec(name)


@pytest.mark.parametrize(
    ("size", "subnet"), [(0, "10.1.0.0/24"), (MAX_HOSTS + 1, "10.1.0.0/24"), (3, "10.1.0.0/29")]
)
def test_hosts_that_do_not_fit_are_refused(size: int, subnet: str) -> None:
    with pytest.raises(LabError):
        LabSpec("x", size, IPv4Network(subnet))


def test_hosts_have_addresses_of_their_own_inside_the_subnet() -> None:
    spec = LabSpec("x", MAX_HOSTS, IPv4Network("10.1.0.0/27"))
    addresses = {host.address for host in spec.hosts} | {spec.gateway}
    assert len(addresses) == MAX_HOSTS + 1
    assert all(address in spec.subnet for address in addresses)
    assert spec.subnet.broadcast_address not in addresses


def test_the_spec_comes_back_as_it_was_kept() -> None:
    spec = LabSpec("x", 5, IPv4Network("10.1.0.0/24"))
    assert load_spec("x") is None
    mark(spec.directory)
    assert load_spec("x") is None
    spec.spec_file.write_bytes(spec.encode())
    assert load_spec("x") == spec


def test_a_directory_of_somebody_else_is_no_lab(labs: Path) -> None:
    (labs / "x").mkdir(parents=True)
    assert not is_marked(labs / "x")
    with pytest.raises(LabError, match="no lab's"):
        load_spec("x")


@pytest.mark.parametrize("text", [b"", b"{}", b'{"name":"x","size":3,"subnet":"10.1.0.0/24","base":"other"}'])
def test_a_spec_of_another_version_says_what_to_do(text: bytes) -> None:
    spec = LabSpec("x")
    mark(spec.directory)
    spec.spec_file.write_bytes(text)
    with pytest.raises(LabError) as raised:
        load_spec("x")
    assert "lab down --name x" in raised.value.remedy


def test_the_base_root_follows_the_cache_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ETCD_CHAOS_CACHE", str(tmp_path))
    assert base_root().parent == tmp_path / "lab"


def test_the_last_hosts_of_a_lab_can_hold_load() -> None:
    spec = LabSpec("x", 5, IPv4Network("10.1.0.0/24"), load=2)
    rendered = {name: yaml.safe_load(text) for name, text in render_inventory(spec).items()}
    groups = rendered["hosts.yml"]
    assert list(groups["etcd"]["hosts"]) == ["node1", "node2", "node3"]
    assert list(groups["load"]["hosts"]) == ["node4", "node5"]
    assert rendered["group_vars/load.yml"] == rendered["group_vars/etcd.yml"]


@pytest.mark.parametrize("load", [-1, 3])
def test_a_lab_has_members(load: int) -> None:
    with pytest.raises(LabError, match="at least one has to have a member"):
        LabSpec("x", 3, load=load)


def test_the_projects_inventory_is_that_of_the_default_lab() -> None:
    rendered = {name: yaml.safe_load(text) for name, text in render_inventory(LabSpec()).items()}
    written = {name: yaml.safe_load((PROJECT / "inventory" / name).read_text()) for name in rendered}
    assert written["hosts.yml"] == rendered["hosts.yml"]
    variables, own = written["group_vars/etcd.yml"], rendered["group_vars/etcd.yml"]
    assert variables.pop("etcd_chaos_lab").endswith("or '/var/lib/etcd-chaos/labs' }}/default")
    assert own.pop("etcd_chaos_lab") == str(LabSpec().directory)
    assert variables.pop("pki_dir") == "{{ etcd_chaos_lab }}/pki"
    assert own.pop("pki_dir") == str(LabSpec().directory / "pki")
    assert variables == own
