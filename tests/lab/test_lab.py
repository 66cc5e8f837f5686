from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.errors import InfrastructureError
from tester.orchestration.commands import run_command
from tester.orchestration.lab import Lab, LabError, LabSpec
from tester.orchestration.lab.cgroups import named
from tester.orchestration.plays import Playbooks
from tests.lab.conftest import lab_spec

if TYPE_CHECKING:
    from collections.abc import Iterator


def leftovers(name: str) -> list[str]:
    """Everything on this machine that bears the lab's name."""
    return sorted(_leftovers(f"ec-{name}", str(LabSpec(name).directory)))


def _leftovers(switch: str, directory: str) -> Iterator[str]:
    for folder in ("/run/netns", "/sys/class/net", "/run/systemd/nspawn/propagate"):
        yield from (str(path) for path in Path(folder).glob(f"{switch}*"))
    yield from named(switch)
    yield from (line for line in Path("/proc/self/mountinfo").read_text().splitlines() if directory in line)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"{directory}/" in command:
            yield command
    if Path(directory).exists():
        yield directory


async def is_whole(lab: Lab) -> bool:
    return (await lab.status()).is_whole


async def test_hosts_are_real_ones_that_reach_each_other(lab: Lab) -> None:
    assert await is_whole(lab)
    names = await asyncio.gather(*(lab.run(host.name, ("hostname",)) for host in lab.hosts))
    assert [name.strip() for name in names] == ["node1", "node2", "node3"]
    for host in lab.hosts:
        assert (await lab.run(host.name, ("systemctl", "is-system-running", "--wait"))).strip() == "running"
    ids = await asyncio.gather(*(lab.run(host.name, ("cat", "/etc/machine-id")) for host in lab.hosts))
    assert len(set(ids)) == 3
    await lab.run("node1", ("timeout", "5", "bash", "-c", f"'</dev/tcp/{lab.hosts[2].address}/22'"))
    with pytest.raises(InfrastructureError, match="unreachable"):
        await lab.run("node1", ("timeout", "5", "bash", "-c", "'</dev/tcp/192.0.2.1/22'"))


async def test_services_of_one_host_are_none_of_anothers(lab: Lab) -> None:
    """With a cgroup for all, stopping a service would wait for the neighbours' processes."""
    await lab.run("node1", ("systemctl", "restart", "ssh.service"))
    assert (await lab.run("node1", ("systemctl", "is-active", "ssh.service"))).strip() == "active"
    assert await is_whole(lab)


async def test_a_host_key_that_changed_is_refused(lab: Lab) -> None:
    known = lab.spec.directory / "ssh" / "known_hosts"
    before = known.read_text()
    one, two, *_ = before.splitlines()
    known.write_text(f"{one.split(' ', 1)[0]} {two.split(' ', 1)[1]}\n")
    try:
        with pytest.raises(InfrastructureError, match="verification failed"):
            await lab.run("node1", ("true",))
    finally:
        known.write_text(before)


async def test_a_host_switched_off_is_gone_and_comes_back_with_its_disk(lab: Lab) -> None:
    await lab.run("node3", ("bash", "-c", "'echo here > /root/kept; sync'"))
    assert await lab.power_off("node3")
    assert not await lab.power_off("node3")
    three = (await lab.status()).hosts[2]
    assert (three.running, three.ssh) == (False, False)
    assert await lab.power_on("node3")
    assert not await lab.power_on("node3")
    assert (await lab.run("node3", ("cat", "/root/kept"))).strip() == "here"


async def test_a_host_shuts_down_in_order_when_it_may(lab: Lab) -> None:
    assert await lab.power_off("node2", grace_seconds=30)
    said = lab.spec.host("node2").log.read_text(errors="replace")
    assert await lab.power_on("node2")
    assert "shutdown.target" in said


async def test_up_repairs_what_is_broken_and_leaves_the_rest(lab: Lab) -> None:
    one, two, three = lab.hosts
    holder = msgspec.json.decode(two.process_file.read_bytes(), type=dict[str, int])
    boot = await lab.run(one.name, ("cat", "/etc/machine-id"))
    uptime = await lab.run(one.name, ("stat", "--format=%Y", "/run/systemd/system"))
    os.kill(holder["pid"], signal.SIGKILL)
    await run_command(("ip", "-netns", lab.spec.switch, "link", "delete", three.name), timeout_seconds=20)
    assert not await is_whole(lab)
    await lab.up()
    assert await is_whole(lab)
    assert await lab.run(one.name, ("cat", "/etc/machine-id")) == boot
    assert await lab.run(one.name, ("stat", "--format=%Y", "/run/systemd/system")) == uptime


async def test_a_whole_lab_is_left_as_it_is(lab: Lab) -> None:
    said: list[str] = []
    await Lab(lab.spec, said.append).up()
    assert said.pop() == f"lab {lab.name}: 3 hosts stand already"
    assert all(line.startswith("waiting for another process") for line in said)
    playbooks = Playbooks(lab.inventory, lab.spec.directory / "ansible", said.append)
    outcome = await playbooks.run("lab", variables=lab.variables())
    assert not any(outcome.changed.values())


async def test_another_shape_and_a_range_in_use_are_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="another shape"):
        await Lab(LabSpec(lab.name, 2, lab.spec.subnet), print).up()
    with pytest.raises(LabError, match="overlaps") as raised:
        await Lab(LabSpec(f"{lab.name}x", 1, lab.spec.subnet), print).up()
    assert "--subnet" in str(raised.value.remedy)
    assert leftovers(f"{lab.name}x") == []


async def test_a_second_lab_by_the_side_comes_and_goes_without_a_trace(lab: Lab) -> None:
    second = Lab(await lab_spec(f"{lab.name}b", 1), print)
    try:
        await second.up()
        assert (await second.run("node1", ("hostname",))).strip() == "node1"
        assert leftovers(second.name)
        # The worst case: the process that holds the host is gone, the host's own are not.
        holder = msgspec.json.decode(second.hosts[0].process_file.read_bytes(), type=dict[str, int])
        os.kill(holder["pid"], signal.SIGKILL)
    finally:
        assert await second.down()
    assert leftovers(second.name) == []
    assert not await second.down()
    assert await is_whole(lab)


async def test_a_directory_of_somebody_else_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_CHAOS_LABS", str(tmp_path))
    (tmp_path / "precious").mkdir()
    with pytest.raises(LabError, match="no lab's"):
        await Lab(LabSpec("precious"), print).down()
    assert (tmp_path / "precious").is_dir()
