"""A round with TLS and users from agent to checker: valid, and no secret anywhere but where it belongs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.agent.hosts import hosts_of
from tests.agent.secure_story import SHORT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
]


def told(directory: Path, version: str, settings: dict[str, object]) -> dict[str, Any]:
    with hosts_of(directory, version):
        argv = [
            sys.executable,
            "-m",
            "tests.agent.secure_story",
            str(directory),
            version,
            json.dumps(settings),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def check(seen: dict[str, Any]) -> None:
    wanted = ("linearizable", "watch", "durability", "kv-hash")
    assert {name: seen["checks"][name] for name in wanted} == dict.fromkeys(wanted, "valid")
    assert seen["urls"].startswith("https://")
    assert seen["ok"] > 100
    assert seen["passwords"] == []
    assert seen["argv"] == 0
    assert seen["left"] == []
    assert seen["cases"] == {"still": ["passed", "", False]}, "nothing was asked while it was held"


def test_own_certificates_and_users(tmp_path: Path, etcd_version: str) -> None:
    cluster = {"tls": "own", "client_cert_auth": True, "auth": True, "flags": {"bcrypt-cost": "4"}}
    # in workers: what they need to know reaches them by no argv and no file
    seen = told(tmp_path, etcd_version, {"cluster": cluster, "workers": 2})
    check(seen)
    own = [name for name in seen["keys"] if name.endswith("member-tls/member.key")]
    assert len(own) == 3
    assert seen["modes"] == ["600"] * 3
    agents = {f"{host}/{name}.key" for host in ("h1", "h2", "h3") for name in ("agent", "tester")}
    assert set(seen["keys"]) == {*own, *agents}
    # the member that came back knew none of its tokens: told as outcomes, and new ones were fetched
    assert seen["errors"].get("etcdserver: invalid auth token", 0) >= 1


@pytest.mark.parametrize("cluster", [{"tls": "own", "client_cert_auth": True, "auth": True}, {"tls": "auto"}])
def test_a_snapshot_is_seen_through_tls(tmp_path: Path, newest_etcd: str, cluster: dict[str, object]) -> None:
    flags = {"bcrypt-cost": "4", "snapshot-count": "200", "experimental-snapshot-catchup-entries": "100"}
    case = {"name": "cut-off", **SHORT, "until": "snapshot"}
    faults = [{"fault": "kill", "target": "follower"}]
    seen = told(
        tmp_path, newest_etcd, {"cluster": cluster | {"flags": flags}, "cases": [case | {"faults": faults}]}
    )
    assert seen["cases"] == {"cut-off": ["passed", "", True]}


def test_certificates_that_members_sign_themselves(tmp_path: Path, newest_etcd: str) -> None:
    seen = told(tmp_path, newest_etcd, {"cluster": {"tls": "auto"}})
    check(seen)
    assert seen["modes"] == []
