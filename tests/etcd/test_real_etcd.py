"""Runs the tests of ``inside`` against real members, one network namespace per etcd version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.etcd.conftest import INSIDE

ONLY = os.environ.get("ETCD_CHAOS_ONLY", "")
"""One of the files alone, for ``make controls``."""

ROOT = Path(__file__).parents[2]
LIES = "tests/etcd/inside/test_lies.py"
PARTS = ([f"tests/etcd/inside/{ONLY}"],) if ONLY else ([LIES], ["tests/etcd/inside", f"--ignore={LIES}"])
"""Each takes a minute or some; they go side by side."""


def unshare() -> list[str]:
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


@pytest.mark.etcd
@pytest.mark.parametrize("part", PARTS, ids=lambda part: Path(part[0]).stem)
def test_against_real_members(etcd_version: str, part: list[str], tmp_path: Path) -> None:
    if subprocess.run([*unshare(), "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace")
    inner = subprocess.run(
        [
            *unshare(),
            *(sys.executable, "-m", "pytest", *part, "-q", "-p", "no:cacheprovider"),
            f"--basetemp={tmp_path / 'inside'}",
            *(["-rP"] if ONLY else []),
        ],
        cwd=ROOT,
        env={**os.environ, INSIDE: etcd_version},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600 if ONLY else 800,
        check=False,
    )
    print(inner.stdout)
    assert inner.returncode == 0, inner.stdout
    assert " passed" in inner.stdout
    assert "skipped" not in inner.stdout
