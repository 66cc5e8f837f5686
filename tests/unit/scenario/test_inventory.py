from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tester.errors import InventoryError
from tester.inventory import inventory_of
from tester.orchestration.hostvars import HostVars
from tests.unit.scenario.hosts import host, inventory

SOURCE = Path("inventory/hosts.yml")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    for name in ("ca.crt", "tester.crt", "tester.key"):
        (tmp_path / name).write_text("x")
    return tmp_path


def values(name: str, pki: Path) -> HostVars:
    return HostVars(
        name=name,
        address="10.207.0.1",
        agent_port=9027,
        client_port=2379,
        peer_port=2380,
        allow=True,
        etcd_versions=("3.4.23", "3.5.1"),
        default_version="3.5.1",
        pki_dir=str(pki),
        max_faulted=None,
        power_on=None,
    )


@pytest.mark.parametrize("order", [("h10", "a", "h2", "h1-b"), ("h2", "h1-b", "h10", "a")])
def test_the_order_of_hosts_does_not_depend_on_who_was_resolved_first(
    pki: Path, order: tuple[str, ...]
) -> None:
    found = inventory_of({name: values(name, pki) for name in order}, SOURCE)
    assert [h.name for h in found.hosts] == ["a", "h1-b", "h2", "h10"]
    assert found.identity.key == pki / "tester.key"
    assert found.hosts[0].versions == ("3.4.23", "3.5.1")


def test_a_host_off_limits_is_refused_but_healed(pki: Path) -> None:
    resolved = {"a": values("a", pki), "b": replace(values("b", pki), allow=False)}
    with pytest.raises(InventoryError, match="etcd_chaos_allow is false for b"):
        inventory_of(resolved, SOURCE)
    assert len(inventory_of(resolved, SOURCE, healing=True).hosts) == 2


def test_load_hosts_are_no_members_and_may_be_off_limits_to_faults(pki: Path) -> None:
    resolved = {"a": values("a", pki), "c": replace(values("c", pki), load=True, allow=False)}
    found = inventory_of(resolved, SOURCE)
    assert [host.name for host in found.hosts] == ["a"]
    assert [host.name for host in found.load_hosts] == ["c"]


@pytest.mark.parametrize("name", ["ca.crt", "tester.crt", "tester.key"])
def test_a_missing_certificate_names_the_file_and_the_remedy(pki: Path, name: str) -> None:
    (pki / name).unlink()
    with pytest.raises(InventoryError, match="there is no such file") as caught:
        inventory_of({"a": values("a", pki)}, SOURCE)
    assert name in caught.value.message
    assert caught.value.remedy == "ansible-playbook playbooks/deploy.yml -i inventory/hosts.yml"


def test_hosts_share_one_identity(pki: Path) -> None:
    with pytest.raises(InventoryError, match="one tester has one identity"):
        inventory_of({"a": values("a", pki), "b": values("b", pki / "other")}, SOURCE)


def test_urls_hold_addresses_of_both_families() -> None:
    assert host(1).agent_url == "https://10.207.0.1:9027"
    six = replace(host(1), address="fd00::1")
    assert (six.client_url, six.peer_url) == ("http://[fd00::1]:2379", "http://[fd00::1]:2380")


def test_the_smallest_bound_counts() -> None:
    assert inventory(3).max_faulted is None
    mixed = replace(inventory(3), hosts=(host(1), host(2, max_faulted=2), host(3, max_faulted=1)))
    assert mixed.max_faulted == 1


@pytest.mark.parametrize("name", ["db-1.Example_org", "a", "1"])
def test_names_as_inventories_have_them(pki: Path, name: str) -> None:
    assert inventory_of({name: values(name, pki)}, SOURCE).hosts[0].name == name


@pytest.mark.parametrize("name", ["", "-a", "a.", "a b", "a" * 64, "ä", "a/../b"])
def test_names_that_no_member_can_have(pki: Path, name: str) -> None:
    with pytest.raises(InventoryError, match="a member cannot have this name"):
        inventory_of({name: values(name, pki)}, SOURCE)
