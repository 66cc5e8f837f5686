"""What goes wrong before or besides the faults: told by place and remedy, harmless, all of it at once."""

from __future__ import annotations

import re
import shutil
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.x509 import load_pem_x509_certificate

from tester.errors import ExitCode
from tester.orchestration.certificates import (
    LEAF_LIFETIME,
    Identity,
    Pair,
    decode_key,
    encode_certificates,
    encode_key,
    issue_ca,
    issue_leaf,
    utc_now,
)
from tester.results import CaseState
from tester.rundir import RunDirectory
from tests.lab.rig import case, scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tester.results import RoundResult
    from tests.lab.rig import Done, Rig

RESTART = "systemctl restart etcd-chaos-agent.service"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return scenario(tmp_path, case("kill", "leader"))


def is_told(done: Done, *words: str) -> None:
    """That all the words were said close together, in this order: a place and what is wrong there."""
    told = " ".join((done.out + done.err).split())
    assert re.search(".{0,200}?".join(map(re.escape, words)), told), (words, done.out, done.err)


async def run(rig: Rig, written: Path, inventory: Path | None = None) -> Done:
    """A run as a person sees it; its directory is ``latest``, beside the scenario."""
    return await rig.cli("run", "-i", inventory or rig.inventory, "-s", written, "-o", written.parent)


def only_round(folder: Path) -> RoundResult:
    """The result of a run's round, which it kept with the logs of every host."""
    directory = RunDirectory.open(folder / "latest")
    result = directory.read_result()
    assert result is not None
    (kept,) = directory.rounds()
    assert kept.read_result() == result.rounds[0]
    assert {path.name for path in (kept.path / "members").iterdir()} == {"node1", "node2", "node3"}
    return result.rounds[0]


# --- found before anything is touched -------------------------------------------------------------------------


async def test_ten_mistakes_are_told_at_once(rig: Rig, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text(
        """\
name: Bad Name
colour: red
stressers:
  - {kind: kv, preset: functional, clients: 0}
  - {kind: mysql}
cases:
  - {name: one, fault: explode}
  - {name: two, fault: kill, hold: 3}
  - {name: two, fault: pause, target: boss}
  - {name: four, fault: kill, target: majority}
  - {name: five, fault: none, target: leader}
checkers: [kv-hash, kv-hush]
rounds: many
""",
        encoding="utf-8",
    )
    done = await rig.cli("run", "-i", rig.inventory, "-s", bad, "-o", tmp_path / "runs")
    assert done.code == ExitCode.USAGE
    places = re.findall(
        rf"^(?:error:|      ) {re.escape(str(bad))}:(\d+):(\d+): \S+: .", done.err, re.MULTILINE
    )
    assert len(places) >= 10, done.err
    assert {int(line) for line, _ in places} == {1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13}
    assert not (tmp_path / "runs").exists()


async def test_an_empty_group_and_a_majority_without_permission(rig: Rig, tmp_path: Path, tiny: Path) -> None:
    empty = rig.inventory_with(tmp_path / "empty", hosts={})
    done = await rig.cli("run", "-i", empty, "-s", tiny, "-o", tmp_path / "runs")
    assert done.code == ExitCode.USAGE
    is_told(done, f"error: {empty}", "group `etcd` has no hosts")
    is_told(done, "remedy:", "etcd: hosts:")
    greedy = scenario(tmp_path, case("pause", "majority"))
    done = await rig.cli("run", "-i", rig.inventory, "-s", greedy, "-o", tmp_path / "runs")
    assert done.code == ExitCode.USAGE
    is_told(done, f"{greedy}:", "cases[0].target", "allow_quorum_loss: true")
    assert not (tmp_path / "runs").exists()


async def test_a_dry_run_shows_commands_and_undo_and_touches_nothing(rig: Rig, tmp_path: Path) -> None:
    written = scenario(
        tmp_path,
        case("isolate", "minority"),
        case("kill", "leader"),
        case("stop", "all", allow_quorum_loss=True),
    )
    before = await rig.looks()
    done = await rig.cli("run", "--dry-run", "-i", rig.inventory, "-s", written, "-o", tmp_path / "runs")
    assert (done.code, done.err) == (ExitCode.VALID, "")
    assert await rig.looks() == before
    assert not (tmp_path / "runs").exists()
    for host in rig.hosts:
        is_told(done, host, "do", "SIGKILL")
        is_told(done, host, "undo", "start")
    is_told(done, "node", "undo", "nft")
    assert "delete table inet" in done.out


def no_key(folder: Path) -> None:
    (folder / "tester.key").unlink()


def expired(folder: Path) -> None:
    authority = Pair(
        load_pem_x509_certificate((folder / "ca.crt").read_bytes()),
        decode_key((folder / "ca.key").read_bytes()),
    )
    replace_tester(folder, authority, age=LEAF_LIFETIME + timedelta(days=1))


def signed_by_another(folder: Path) -> None:
    replace_tester(folder, issue_ca(utc_now()))


def another_ca(folder: Path) -> None:
    authority = issue_ca(utc_now())
    (folder / "ca.crt").write_bytes(encode_certificates(authority.certificate))
    replace_tester(folder, authority)


def replace_tester(folder: Path, authority: Pair, *, age: timedelta = timedelta()) -> None:
    issued = issue_leaf(Identity("etcd-chaos-tester"), authority, utc_now() - age)
    (folder / "tester.crt").write_bytes(encode_certificates(issued.certificate))
    (folder / "tester.key").write_bytes(encode_key(issued.key))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (no_key, ExitCode.USAGE, ["tester.key", "no such file"]),
        (expired, ExitCode.INFRASTRUCTURE, ["does not take this certificate"]),
        (signed_by_another, ExitCode.INFRASTRUCTURE, ["does not take this certificate"]),
        (another_ca, ExitCode.INFRASTRUCTURE, ["certificate is not trusted"]),
    ],
)
async def test_certificates(
    rig: Rig, tmp_path: Path, tiny: Path, change: Callable[[Path], None], code: ExitCode, words: list[str]
) -> None:
    before = await rig.looks()
    pki = tmp_path / "pki"
    shutil.copytree(rig.lab.spec.directory / "pki", pki)
    change(pki)
    inventory = rig.inventory_with(tmp_path / "inventory", pki_dir=str(pki))
    done = await run(rig, tiny, inventory)
    assert done.code == code, done
    for place in rig.hosts if code is ExitCode.INFRASTRUCTURE else [str(pki)]:
        is_told(done, place, *words)
    is_told(done, "playbooks/deploy.yml")
    assert await rig.looks() == before


async def test_a_host_that_nobody_reaches(rig: Rig, tmp_path: Path, tiny: Path) -> None:
    before = await rig.looks()
    hosts = {host.name: str(host.address) for host in rig.lab.hosts}
    hosts["node9"] = str(rig.lab.spec.subnet.network_address + 99)
    done = await run(rig, tiny, rig.inventory_with(tmp_path / "inventory", hosts=hosts))
    assert done.code == ExitCode.INFRASTRUCTURE, done
    is_told(done, "reason", "node9", hosts["node9"])
    is_told(done, "systemctl status etcd-chaos-agent")
    assert await rig.looks() == before


async def test_an_agent_with_another_interface(rig: Rig, tiny: Path) -> None:
    async with patched_agent(rig, "node2", "API_VERSION: Final = 1", "API_VERSION: Final = 7"):
        done = await run(rig, tiny)
    assert done.code == ExitCode.INFRASTRUCTURE, done
    is_told(done, "reason", "node2", "version 7", "version 1")
    is_told(done, "playbooks/deploy.yml")
    assert await rig.dirt() == {}


# --- found when a round is provisioned or started -------------------------------------------------------------


async def test_hosts_that_are_unfit_are_all_named(rig: Rig, tiny: Path) -> None:
    version = rig.versions[-1]
    binary = f"/opt/etcd-chaos/etcd/{version}/bin/etcd"
    data = "/var/lib/etcd-chaos/data"
    async with (
        patched_agent(rig, "node1", '__version__: Final = "', '__version__: Final = "0.'),
        rig.broken("node1", f"mv {binary} {binary}.away", f"mv {binary}.away {binary}"),
        rig.broken("node2", f"chmod 0644 {binary}", "true"),
        rig.broken("node3", f"mount -t tmpfs -o size=64M tmpfs {data}", f"umount {data}"),
    ):
        done = await run(rig, tiny)
        # The remedy named for the second is one: the binary is installed again.
        deployed = await rig.play("deploy", "--tags", "etcd", "--limit", "node2")
    assert done.code == ExitCode.INFRASTRUCTURE, done
    is_told(done, "host node1", "the agent has version 0.", "not", f"etcd {version} is not installed")
    is_told(done, "host node2", f"etcd {version} is not installed", f"there is {rig.versions[0]}")
    is_told(done, "run playbooks/deploy.yml")
    is_told(done, "host node3", "bytes are left for a member's data")
    is_told(done, "make room on the host")
    assert [case.state for case in only_round(tiny.parent).cases] == [CaseState.SKIPPED]
    assert deployed.changed == {"node2": 1}, deployed.out
    assert await rig.shell("node2", f"stat --format=%a {binary}") == "755\n"
    assert await rig.dirt() == {}


async def test_members_that_cannot_start_are_all_named(rig: Rig, tiny: Path) -> None:
    listen = (
        "import socket, time;"
        f"s = socket.create_server(('{rig.lab.spec.host('node1').address}', 2379)); time.sleep(600)"
    )
    foreign = "/var/lib/etcd-chaos/data/node2"
    async with (
        rig.broken(
            "node1",
            f'systemd-run --quiet --unit=squatter python3 -c "{listen}"; sleep 0.5',
            "systemctl stop squatter",
        ),
        rig.broken("node2", f"mkdir -p {foreign}; echo mine > {foreign}/precious", f"rm -r {foreign}"),
    ):
        done = await run(rig, tiny)
        assert await rig.dirt(["node3"]) == {}, "its member had started"
        assert await rig.shell("node2", f"cat {foreign}/precious") == "mine\n"
        looks = await rig.looks()
        assert [look.members for look in looks.values()] == [{}, {}, {}]
    assert done.code == ExitCode.INFRASTRUCTURE, done
    is_told(done, "node1: ", "port 2379", "is taken by python3")
    is_told(done, "node1: stop that process")
    is_told(done, "node2: ", foreign, "was not made by this agent")
    is_told(done, "node2: name another data_dir, or move what lies there away")
    assert [case.state for case in only_round(tiny.parent).cases] == [CaseState.SKIPPED]
    assert await rig.dirt() == {}


async def test_a_full_disk_means_no_fault(rig: Rig, tmp_path: Path) -> None:
    """What cannot be written down cannot be undone after a crash, so it is not done."""
    journal = "/var/lib/etcd-chaos/faults"
    full = f"mount -t tmpfs -o size=64k tmpfs {journal}; dd if=/dev/zero of={journal}/filler bs=64k count=1 status=none"
    written = scenario(tmp_path, case("pause", "all", allow_quorum_loss=True), limits={"recovery": "60s"})
    async with rig.broken("node2", full, f"umount {journal}"):
        done = await run(rig, written)
    assert done.code == ExitCode.INFRASTRUCTURE, done
    (hit,) = only_round(tmp_path).cases
    assert hit.state is CaseState.ERROR
    assert "node1" not in hit.reason
    is_told(done, "host node2: fault", "was not injected", journal, "No space left on device")
    assert await rig.dirt() == {}


@asynccontextmanager
async def patched_agent(rig: Rig, host: str, text: str, other: str) -> AsyncIterator[None]:
    """The agent of a host with one line of its package changed."""
    path = "/opt/etcd-chaos/agent/current/lib/python3*/site-packages/agent_service/__init__.py"
    change = f"cd $(dirname {path}); cp -p __init__.py /root/original; sed -i 's/{text}/{other}/' __init__.py"
    repair = f"cd $(dirname {path}); mv /root/original __init__.py"
    async with rig.broken(host, f"{change}; {RESTART}", f"{repair}; {RESTART}"):
        yield
