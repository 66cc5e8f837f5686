from __future__ import annotations

import json
import subprocess
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tester.orchestration.lab import LabError, LabHost, LabSpec, holder, machine
from tester.orchestration.lab.cgroups import hierarchies
from tester.orchestration.lab.machine import is_running, nspawn_command
from tester.orchestration.lab.preflight import check_watches, free_subnet, parse_networks
from tester.orchestration.lab.removal import mounts_below

HYBRID = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /sys/fs/cgroup ro - tmpfs tmpfs rw
31 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
40 27 0:40 / /var/labs/x/hosts/node1/root rw,relatime - overlay etcd-chaos rw
41 27 0:41 / /var/labs/x/with\\040space rw shared:1 - tmpfs tmpfs rw
42 40 0:42 / /var/labs/x/hosts/node1/root/proc rw - proc proc rw
43 27 0:43 / /var/labs/xy rw - tmpfs tmpfs rw
"""
PURE = "25 22 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabHost:
    monkeypatch.setenv("ETCD_CHAOS_LABS", str(tmp_path))
    host = LabSpec("x").host("node2")
    host.directory.mkdir(parents=True)
    return host


@pytest.mark.parametrize("fuse", [True, False])
def test_the_command_of_a_host(
    host: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fuse: bool
) -> None:
    device = tmp_path / "fuse"
    monkeypatch.setattr(machine, "_FUSE", device)
    if fuse:
        device.touch()
    assert nspawn_command(host) == (
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={host.directory}/root",
        "--machine=ec-x-node2",
        "--hostname=node2",
        "--network-namespace-path=/run/netns/ec-x-node2",
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
        *((f"--bind={device}",) if fuse else ()),
        "--register=no",
        "--keep-unit",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
    )


def test_a_host_runs_while_its_process_does(host: LabHost) -> None:
    assert not is_running(host)
    stat = Path("/proc/self/stat").read_text()
    pid, start = int(stat.split()[0]), int(stat.rpartition(")")[2].split()[19])
    host.process_file.write_text(json.dumps({"pid": pid, "start_ticks": start}))
    assert is_running(host)
    host.process_file.write_text(json.dumps({"pid": pid, "start_ticks": start - 1}))
    assert not is_running(host), "a recycled pid is somebody else"
    host.process_file.write_text("{")
    assert not is_running(host)


def test_an_unknown_host_is_refused_with_those_there_are() -> None:
    with pytest.raises(LabError) as raised:
        LabSpec("x").host("node9")
    assert "node1, node2, node3" in raised.value.remedy


def test_cgroup_hierarchies_of_a_hybrid_and_a_pure_machine() -> None:
    assert hierarchies(HYBRID) == (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"))
    assert hierarchies(PURE) == (Path("/sys/fs/cgroup"),)


def test_mounts_of_a_lab_deepest_first_and_no_others() -> None:
    root = Path("/var/labs/x")
    assert mounts_below(HYBRID, root) == (
        root / "hosts/node1/root/proc",
        root / "hosts/node1/root",
        root / "with space",
    )


def test_networks_of_this_machine() -> None:
    routes = json.dumps(
        [
            {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
            {"dst": "0.0.0.0/1", "dev": "tun0"},
            {"dst": "10.86.42.0/24", "dev": "ec-x"},
            {"dst": "10.0.0.0/9", "dev": "tun0"},
            {"type": "local", "dst": "192.0.2.2", "dev": "eth0", "table": "local"},
            {"type": "blackhole", "dst": "172.16.0.0/12"},
        ]
    )
    addresses = json.dumps(
        [
            {"ifname": "eth0", "addr_info": [{"local": "192.0.2.2", "prefixlen": 24}]},
            {"ifname": "ec-x", "addr_info": [{"local": "10.86.42.1", "prefixlen": 24}]},
            {},
        ]
    )
    found = {
        (str(network), device) for network, device in parse_networks(routes, addresses, own_device="ec-x")
    }
    assert found == {
        ("10.0.0.0/9", "tun0"),
        ("192.0.2.2/32", "eth0"),
        ("172.16.0.0/12", ""),
        ("192.0.2.0/24", "eth0"),
    }


def test_a_free_subnet_is_one_that_nobody_uses() -> None:
    assert free_subnet([]) == IPv4Network("10.86.43.0/24")
    assert free_subnet([IPv4Network("10.86.43.7/32")]) == IPv4Network("10.86.44.0/24")
    assert free_subnet([IPv4Network("10.86.128.0/17")], first=255) == IPv4Network("10.86.0.0/24")
    with pytest.raises(LabError, match="every /24"):
        free_subnet([IPv4Network("10.0.0.0/8")])


def test_hosts_for_whom_the_kernel_has_no_inotify_instances(tmp_path: Path) -> None:
    limit = tmp_path / "sys/fs/inotify/max_user_instances"
    limit.parent.mkdir(parents=True)
    limit.write_text("27\n")
    descriptors = tmp_path / "17/fd"
    descriptors.mkdir(parents=True)
    for number, target in enumerate(("anon_inode:inotify", "/dev/null", "anon_inode:inotify")):
        (descriptors / str(number)).symlink_to(target)
    check_watches(3, tmp_path)  # the control: 24 of the 25 that are left
    with pytest.raises(LabError) as caught:
        check_watches(4, tmp_path)
    assert caught.value.message == "4 hosts need 32 inotify instances, and of 27 2 are in use"
    assert caught.value.remedy == "sysctl fs.inotify.max_user_instances=68"


def test_who_holds_a_host_boots_it_again_and_hands_sigterm_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    host = tmp_path / "host"
    host.write_text(f"""#!/bin/sh
trap 'echo asked >> {log}; exit 7' TERM
echo boot >> {log}
[ "$(grep -c boot {log})" -lt 3 ] && exit {holder.REBOOT}
while :; do sleep 0.05; done
""")
    host.chmod(0o755)
    process = subprocess.Popen([sys.executable, "-I", "-S", holder.__file__, str(host)])
    try:
        deadline = time.monotonic() + 20
        while not log.exists() or log.read_text().count("boot") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        assert process.wait(20) == 7
    finally:
        process.kill()
        process.wait()
    assert log.read_text().split() == ["boot", "boot", "boot", "asked"]
