"""Healing without an agent, with a real member and the process supervisor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tester.orchestration.paths import cache_dir
from tests.agent.process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.mark.etcd
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own")
def test_heal_in_the_place_of_a_dead_agent_and_on_the_way_out_of_a_live_one(
    tmp_path: Path, newest_etcd: str
) -> None:
    story = [sys.executable, "-m", "tests.agent.heal_story", tmp_path, cache_dir() / "etcd", newest_etcd]
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
