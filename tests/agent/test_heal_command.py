"""Healing without an agent, with a real member and the process supervisor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_service.builds import installed_versions
from tests.agent.process import ROOT

CACHE = Path(os.environ.get("ETCD_CHAOS_CACHE", Path.home() / ".cache" / "etcd-chaos"))
NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def newest_version() -> str:
    found = installed_versions(CACHE / "etcd")
    if not found:
        pytest.skip(f"no etcd under {CACHE}")
    return found[-1]


@pytest.mark.etcd
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own")
def test_heal_in_the_place_of_a_dead_agent_and_on_the_way_out_of_a_live_one(tmp_path: Path) -> None:
    story = [sys.executable, "-m", "tests.agent.heal_story", tmp_path, CACHE / "etcd", newest_version()]
    done = subprocess.run(
        [*NAMESPACES, *map(str, story)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("expired") == [0, ""], "a lease that still runs is left alone"
    code, text = told.pop("everything")
    assert (code, text[:11]) == (0, "f1: healed:")
    assert told == {
        "healed_by": "heal-command",
        "state": "running",
        "same_pid": True,
        "usage_pid": True,
        "stopped": 0,
        "stop_healed_by": "agent-stop",
        "stop_state": "healed",
    }
