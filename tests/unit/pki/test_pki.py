from __future__ import annotations

import json
import ssl
import stat
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tester.orchestration.certificates import CA_LIFETIME, LEAF_LIFETIME, utc_now
from tester.orchestration.pki import TESTER, PkiError, ensure_pki, main

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = {"node1": "10.0.0.1", "node2": "fd00::2"}


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def lay_out(files: dict[str, bytes], directory: Path) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def shake_hands(
    server_files: dict[str, bytes],
    client_files: dict[str, bytes],
    tmp_path: Path,
    *,
    address: str = "10.0.0.1",
    server: str = "hosts/node1",
) -> str:
    """A handshake in memory between an agent with one state of the files and a tester with another."""
    at_host = lay_out(server_files, tmp_path / "host")
    at_tester = lay_out(client_files, tmp_path / "tester")
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=at_host / "ca.crt")
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_cert_chain(at_host / f"{server}.crt", at_host / f"{server}.key")
    calling = ssl.create_default_context(cafile=at_tester / "ca.crt")
    calling.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    calling.load_cert_chain(at_tester / "tester.crt", at_tester / "tester.key")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    agent = listening.wrap_bio(there, back, server_side=True)
    tester = calling.wrap_bio(back, there, server_hostname=address)
    for _ in range(4):
        for end in (tester, agent):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    names = dict(pair[0] for pair in agent.getpeercert()["subject"])
    return names["commonName"]


def test_a_tester_and_an_agent_recognise_each_other(tmp_path: Path) -> None:
    paths = ensure_pki(tmp_path / "pki", HOSTS)
    files = snapshot(paths.directory)
    assert shake_hands(files, files, tmp_path) == TESTER
    assert shake_hands(files, files, tmp_path, address="fd00::2", server="hosts/node2") == TESTER
    assert shake_hands(files, files, tmp_path, address="node1") == TESTER


@pytest.mark.parametrize("name", ["db-1.example.org", "Node_1"])
def test_hosts_may_have_the_names_that_inventories_have(tmp_path: Path, name: str) -> None:
    ensure_pki(tmp_path / "pki", {name: "10.0.0.1"})
    files = snapshot(tmp_path / "pki")
    assert shake_hands(files, files, tmp_path, server=f"hosts/{name}") == TESTER


def test_an_agent_at_another_address_is_refused(tmp_path: Path) -> None:
    files = snapshot(ensure_pki(tmp_path / "pki", HOSTS).directory)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"10\.0\.0\.9"):
        shake_hands(files, files, tmp_path, address="10.0.0.9")


def test_the_key_of_a_host_orders_no_other_host_about(tmp_path: Path) -> None:
    files = snapshot(ensure_pki(tmp_path / "pki", HOSTS).directory)
    stolen = files | {"tester.crt": files["hosts/node2.crt"], "tester.key": files["hosts/node2.key"]}
    with pytest.raises(ssl.SSLError, match="unsuitable certificate purpose"):
        shake_hands(files, stolen, tmp_path)


def test_a_reader_has_a_certificate_of_its_own_name(tmp_path: Path) -> None:
    paths = ensure_pki(tmp_path / "pki", HOSTS, ["prometheus"])
    assert {"readers/prometheus.key", "readers/prometheus.crt"} <= set(paths.changed)
    files = snapshot(paths.directory)
    reading = files | {
        "tester.crt": files["readers/prometheus.crt"],
        "tester.key": files["readers/prometheus.key"],
    }
    assert shake_hands(files, reading, tmp_path) == "prometheus"
    assert ensure_pki(tmp_path / "pki", HOSTS, ["prometheus"]).changed == ()


@pytest.mark.parametrize(("name", "problem"), [(TESTER, "is the tester"), ("../x", "cannot name a reader")])
def test_a_reader_is_neither_the_tester_nor_a_path(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(PkiError, match=problem):
        ensure_pki(tmp_path / "pki", HOSTS, [name])
    assert not (tmp_path / "pki").exists()


def test_strangers_are_refused(tmp_path: Path) -> None:
    ours = snapshot(ensure_pki(tmp_path / "ours", HOSTS).directory)
    theirs = snapshot(ensure_pki(tmp_path / "theirs", HOSTS).directory)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ours, theirs, tmp_path)


def test_only_the_owner_can_read_keys(tmp_path: Path) -> None:
    directory = ensure_pki(tmp_path / "a" / "pki", HOSTS).directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    keys = list(directory.rglob("*.key"))
    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    first = ensure_pki(tmp_path, HOSTS)
    assert set(first.changed) == set(snapshot(tmp_path))
    before = snapshot(tmp_path)
    assert ensure_pki(tmp_path, HOSTS).changed == ()
    assert snapshot(tmp_path) == before


def test_only_what_changed_is_issued_again(tmp_path: Path) -> None:
    ensure_pki(tmp_path, HOSTS)
    moved = ensure_pki(tmp_path, HOSTS | {"node1": "10.0.0.7"})
    assert set(moved.changed) == {"hosts/node1.key", "hosts/node1.crt"}
    added = ensure_pki(tmp_path, {"node3": "10.0.0.3"})
    assert set(added.changed) == {"hosts/node3.key", "hosts/node3.crt"}


def test_certificates_are_renewed_in_the_last_third_of_their_life(tmp_path: Path) -> None:
    now = utc_now()
    ensure_pki(tmp_path, HOSTS, now=now)
    assert ensure_pki(tmp_path, HOSTS, now=now + LEAF_LIFETIME * 0.6).changed == ()
    renewed = ensure_pki(tmp_path, HOSTS, now=now + LEAF_LIFETIME * 0.7)
    assert {name for name in renewed.changed if name.endswith(".crt")} == {
        "hosts/node1.crt",
        "hosts/node2.crt",
        "tester.crt",
    }


@pytest.mark.parametrize("damage", ["missing", "garbage", "anothers"])
def test_a_damaged_certificate_is_issued_again(tmp_path: Path, damage: str) -> None:
    ensure_pki(tmp_path, HOSTS)
    path = tmp_path / "hosts" / "node1.crt"
    match damage:
        case "missing":
            path.unlink()
        case "garbage":
            path.write_bytes(b"garbage")
        case "anothers":
            path.write_bytes((tmp_path / "hosts" / "node2.crt").read_bytes())
    assert set(ensure_pki(tmp_path, HOSTS).changed) == {"hosts/node1.key", "hosts/node1.crt"}
    files = snapshot(tmp_path)
    assert shake_hands(files, files, tmp_path / "x") == TESTER


def test_a_broken_ca_is_never_replaced_in_silence(tmp_path: Path) -> None:
    ensure_pki(tmp_path, HOSTS)
    (tmp_path / "ca.key").unlink()
    before = snapshot(tmp_path)
    with pytest.raises(PkiError, match="broken") as raised:
        ensure_pki(tmp_path, HOSTS)
    assert "backup" in raised.value.remedy
    assert snapshot(tmp_path) == before


def stages(tmp_path: Path) -> list[dict[str, bytes]]:
    """The files after each deployment of a rotation, from settled to settled."""
    ensure_pki(tmp_path, HOSTS)
    found = [snapshot(tmp_path)]
    ensure_pki(tmp_path, HOSTS, rotate=True)
    found.append(snapshot(tmp_path))
    for _ in range(2):
        ensure_pki(tmp_path, HOSTS)
        found.append(snapshot(tmp_path))
    return found


def test_a_rotation_never_cuts_neighbouring_deployments_off(tmp_path: Path) -> None:
    found = stages(tmp_path / "pki")
    for number, (before, after) in enumerate(pairwise(found)):
        assert shake_hands(before, after, tmp_path / f"{number}a") == TESTER
        assert shake_hands(after, before, tmp_path / f"{number}b") == TESTER


def test_a_finished_rotation_has_replaced_everything(tmp_path: Path) -> None:
    first, *_, last = stages(tmp_path / "pki")
    assert ensure_pki(tmp_path / "pki", HOSTS).changed == ()
    assert first.keys() == last.keys()
    assert all(first[name] != last[name] for name in first)
    assert len(x509.load_pem_x509_certificates(last["ca.crt"])) == 1
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(last, first, tmp_path)


def test_a_rotation_that_is_under_way_is_not_begun_again(tmp_path: Path) -> None:
    ensure_pki(tmp_path, HOSTS)
    for _ in range(3):
        ensure_pki(tmp_path, HOSTS, rotate=True)
    assert len(x509.load_pem_x509_certificates((tmp_path / "ca.crt").read_bytes())) == 1


def test_the_old_ca_stays_until_every_host_has_a_new_certificate(tmp_path: Path) -> None:
    ensure_pki(tmp_path, HOSTS)
    ensure_pki(tmp_path, HOSTS, rotate=True)
    ensure_pki(tmp_path, {"node1": HOSTS["node1"]})
    assert ensure_pki(tmp_path, HOSTS).changed == ("hosts/node2.key", "hosts/node2.crt")
    assert len(x509.load_pem_x509_certificates((tmp_path / "ca.crt").read_bytes())) == 2
    assert ensure_pki(tmp_path, HOSTS).changed == ("ca.crt",)


def test_an_old_ca_announces_its_successor(tmp_path: Path) -> None:
    now = utc_now()
    ensure_pki(tmp_path, HOSTS, now=now)
    old = now + CA_LIFETIME * 0.6
    ensure_pki(tmp_path, HOSTS, now=old)
    assert not (tmp_path / "ca-next.key").exists()
    ensure_pki(tmp_path, HOSTS, now=old + timedelta(days=365))
    assert (tmp_path / "ca-next.key").exists()


def test_a_successor_that_was_never_announced_signs_nothing(tmp_path: Path) -> None:
    other = ensure_pki(tmp_path / "other", {}).directory
    ensure_pki(tmp_path / "pki", HOSTS)
    (tmp_path / "pki" / "ca-next.key").write_bytes((other / "ca.key").read_bytes())
    assert ensure_pki(tmp_path / "pki", HOSTS).changed == ()


@pytest.mark.parametrize("hosts", [{"../node": "10.0.0.1"}, {"node.": "10.0.0.1"}, {"node": "node.example"}])
def test_names_and_addresses_that_cannot_be_certified(tmp_path: Path, hosts: dict[str, str]) -> None:
    with pytest.raises(PkiError):
        ensure_pki(tmp_path, hosts)
    assert snapshot(tmp_path) == {}


def test_the_command_says_what_changed_and_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--directory", str(tmp_path), "--host", "node1=10.0.0.1", "--reader", "prometheus"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert {"hosts/node1.crt", "readers/prometheus.crt"} <= set(json.loads(out)["changed"])
    assert "PRIVATE" not in out + err
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"changed": []}
    (tmp_path / "ca.key").unlink()
    assert main(arguments) == 1
    assert "broken" in capsys.readouterr().err
