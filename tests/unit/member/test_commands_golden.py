"""Golden tests of every command line that starts something: what is pinned here runs as root on hosts."""

from __future__ import annotations

import sys
from pathlib import Path

from agent_service.launch import etcd_argv
from agent_service.processes import boot_id
from agent_service.supervisor.base import Launch
from agent_service.supervisor.process import SHIM, shim_argv
from agent_service.supervisor.systemd import reset_argv, show_argv, start_argv, stop_argv, stop_slice_argv
from tests.unit.member.settings import member_spec

SHOWN = (
    "LoadState",
    "ActiveState",
    "MainPID",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainExitTimestampMonotonic",
)
LOG = Path("/var/log/etcd-chaos/member.log")


def test_etcd() -> None:
    spec = member_spec(
        name="m2",
        client_url="http://10.0.0.2:2379",
        peer_url="http://10.0.0.2:2380",
        initial_cluster={"m2": "http://10.0.0.2:2380", "m1": "http://10.0.0.1:2380"},
        flags={"snapshot-count": "100", "pre-vote": "true"},
        env={"GOGC": "50"},
    )
    assert etcd_argv(Path("/opt/etcd/3.5.1/bin/etcd"), spec, Path("/var/lib/x/m2")) == (
        "/opt/etcd/3.5.1/bin/etcd",
        "--name=m2",
        "--data-dir=/var/lib/x/m2",
        "--listen-client-urls=http://10.0.0.2:2379",
        "--advertise-client-urls=http://10.0.0.2:2379",
        "--listen-peer-urls=http://10.0.0.2:2380",
        "--initial-advertise-peer-urls=http://10.0.0.2:2380",
        "--initial-cluster=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380",
        "--initial-cluster-state=new",
        "--initial-cluster-token=test",
        "--logger=zap",
        "--log-outputs=stderr",
        "--pre-vote=true",
        "--snapshot-count=100",
    )


def test_systemd_start() -> None:
    launch = Launch(argv=("/e", "--x=$HOME"), env={"GOGC": "50", "B": "2"}, log=LOG, user="etcd")
    assert start_argv(launch) == (
        "systemd-run",
        "--quiet",
        "--no-ask-password",
        "--unit=etcd-chaos-member.service",
        "--slice=etcdchaos.slice",
        "--description=etcd member under test (etcd-chaos)",
        "--property=Type=exec",
        "--property=RemainAfterExit=yes",
        "--property=Restart=no",
        "--property=KillMode=mixed",
        "--property=TimeoutStopSec=10s",
        "--property=LimitNOFILE=65536",
        "--property=StandardOutput=append:/var/log/etcd-chaos/member.log",
        "--property=StandardError=append:/var/log/etcd-chaos/member.log",
        "--uid=etcd",
        "--setenv=B=2",
        "--setenv=GOGC=50",
        "--",
        "/e",
        "--x=$$HOME",
    )


def test_systemd_start_as_the_agents_user_names_none() -> None:
    argv = start_argv(Launch(argv=("/e",), env={}, log=LOG, user=None))
    assert not [argument for argument in argv if argument.startswith(("--uid", "--setenv"))]


def test_systemd_others() -> None:
    assert show_argv() == (
        "systemctl",
        "show",
        "etcd-chaos-member.service",
        "--property=" + ",".join(SHOWN),
    )
    assert stop_argv() == ("systemctl", "stop", "etcd-chaos-member.service")
    assert stop_slice_argv() == ("systemctl", "stop", "etcdchaos.slice")
    assert reset_argv() == ("systemctl", "reset-failed", "etcd-chaos-member.service")


def test_shim() -> None:
    launch = Launch(argv=("/e", "--x"), env={}, log=LOG, user="etcd")
    assert shim_argv(Path("/s/process"), launch) == (
        sys.executable,
        "-I",
        "-S",
        str(SHIM),
        "/s/process",
        "etcd",
        boot_id(),
        "/e",
        "--x",
    )
