"""Playbooks may be run again: a second time changes nothing, a dry run never does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.rig import Rig


@pytest.mark.parametrize("arguments", [[], ["--check", "--diff"]], ids=["again", "check-diff"])
async def test_a_second_deployment_changes_nothing(rig: Rig, arguments: list[str]) -> None:
    before = await rig.looks()
    played = await rig.play("deploy", *arguments)
    assert played.code == ExitCode.VALID, played.out
    assert played.changed == dict.fromkeys(rig.hosts, 0), played.out
    assert await rig.looks() == before


async def test_every_other_playbook_changes_nothing_on_hosts_at_rest(rig: Rig, tmp_path: Path) -> None:
    before = await rig.looks()
    to = f"etcd_agent_collect_to={tmp_path}"
    assert (await rig.play("collect", "-e", to)).code == ExitCode.VALID
    for playbook in ("collect", "provision", "heal", "cleanup"):
        played = await rig.play(playbook, "-e", to)
        assert played.code == ExitCode.VALID, played.out
        assert played.changed == dict.fromkeys(rig.hosts, 0), played.out
    assert names_in(tmp_path) == list(rig.hosts)
    assert {name: look.lasting for name, look in (await rig.looks()).items()} == {
        name: look.lasting for name, look in before.items()
    }


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
