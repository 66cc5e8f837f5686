"""Members on disk layers: units of their own under systemd, on as the user that runs etcd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode
from tester.events import Phase
from tester.results import CaseState
from tests.lab.rig import case, scenario

if TYPE_CHECKING:
    from tests.lab.rig import Rig

CASES = (
    case("slow-fsync", "leader", delay="100ms", jitter="20ms"),
    case("disk-full", "one"),
    case("corrupt-file", "follower", file="db"),
    case("power-loss", "all", allow_quorum_loss=True),
)
LAYER = "systemctl show --property=ActiveState etcd-chaos-disk; mount -t fuse"


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="there is no /dev/fuse on this machine")
async def test_faults_on_the_disk_are_held_healed_and_proven(rig: Rig, tmp_path: Path) -> None:
    written = scenario(tmp_path, *CASES, cluster={"disk": "fuse"}, limits={"recovery": "60s"})
    async with rig.running(written, "--seed", "7") as running:
        await running.phase(Phase.HOLD)
        layer = await rig.shell(rig.hosts[0], LAYER)
        ended = await running.end()
    assert "ActiveState=active" in layer
    assert "etcd-chaos-disk on /var/lib/etcd-chaos/data/" in layer
    assert ended.code == ExitCode.VALID, ended.said
    (one,) = ended.result.rounds
    assert [(done.state, done.reason) for done in one.cases] == [(CaseState.PASSED, "")] * len(CASES)
    assert await rig.dirt() == {}
    assert "etcd-chaos-disk" not in await rig.shell(rig.hosts[0], "mount -t fuse")
