"""Load on a host of its own, ten days ahead of everybody: real agents, real members, judged as one history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agent_service import timens
from tests.agent.hosts import hosts_with_load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own"),
    pytest.mark.skipif(not timens.is_there(), reason="this kernel has no time namespaces"),
]

AHEAD_SECONDS = 864_000


def told(directory: Path, version: str, story: str) -> dict[str, Any]:
    with hosts_with_load(directory, version, AHEAD_SECONDS) as hosts:
        agent = hosts["h4"].agent.process
        assert agent is not None
        argv = [
            sys.executable,
            "-m",
            "tests.agent.load_story",
            str(directory),
            version,
            story,
            str(agent.pid),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        log = hosts["h4"].agent.log()
    assert done.returncode == 0, done.stderr + log
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_load_from_a_host_is_judged_as_one_history(tmp_path: Path, newest_etcd: str) -> None:
    seen = told(tmp_path, newest_etcd, "judged")
    wanted = ("linearizable", "watch", "durability", "kv-hash", "locks")
    assert {name: seen["checks"][name][0] for name in wanted} == dict.fromkeys(wanted, "valid"), seen[
        "checks"
    ]
    assert seen["ok"] > 200
    assert seen["clients"] > 10
    assert seen["watchers"] > 3  # those of the tester, and those that list and watch over there
    assert 0 < seen["totals"] <= seen["ok"]
    assert seen["window"] == seen["totals"]  # reports are on the run clock, too
    # measured before, while and after, by how much it is off and how well that is known
    assert len(seen["clocks"]) >= 4
    for host, offset, error, lost in seen["clocks"]:
        assert (host, lost) == ("h4", "")
        assert offset / 1e9 > AHEAD_SECONDS  # and by how long this machine is up
        assert error > 0
    assert any("load host h4: its clock less the run clock is +" in notice for notice in seen["notices"])
    # without privileges, secrets or traces
    assert len(seen["processes"]) == 2
    for process in seen["processes"]:
        assert {process[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert process["NoNewPrivs"] == "1"
    assert seen["passwords"] == []
    assert seen["argv"] == 0
    assert seen["left"] == []
    assert seen["files"] == ["history.jsonl"]
    assert seen["backwards"] <= 2 * max(error for _, _, error, _ in seen["clocks"])


def test_a_worker_that_is_killed_is_told_by_its_name(tmp_path: Path, newest_etcd: str) -> None:
    seen = told(tmp_path, newest_etcd, "worker-killed")
    assert seen["error"].startswith("load worker ")
    assert " on h4 ended: signal 9" in seen["error"]
    assert seen["left"] == []
    assert seen["ok"] > 0


def test_an_agent_that_dies_takes_its_workers_along(tmp_path: Path, newest_etcd: str) -> None:
    seen = told(tmp_path, newest_etcd, "agent-stopped")
    assert " on h4: agent https://10.209.0.4:9027" in seen["error"]
    assert seen["alive"] == []
    assert any("was not ended in order" in notice for notice in seen["notices"])
    assert seen["ok"] > 0  # what had come here by then is there


def test_load_ends_by_itself_when_nobody_asks_for_it(tmp_path: Path, newest_etcd: str) -> None:
    seen = told(tmp_path, newest_etcd, "tester-hangs")
    assert len(seen["ends"]) == 2
    assert all("its lease ran out: nobody asked for it" in end for end in seen["ends"])
    assert all(size > 0 for size in seen["histories"])
    assert seen["left"] == []
