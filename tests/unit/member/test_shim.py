"""The parent of a member sees its end, however early that comes."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from typing import TYPE_CHECKING, Any

from agent_service.supervisor import shim

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_member_that_ends_at_once_is_still_ours_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(subprocess.Popen):  # a parent that has no turn before its child has ended
        def __init__(self, command: list[str], **_others: Any) -> None:
            super().__init__(command)
            time.sleep(0.2)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    monkeypatch.chdir(tmp_path)
    shim.main(str(tmp_path), pwd.getpwuid(os.getuid()).pw_name, "boot", ["false"])
    assert json.loads((tmp_path / "ended.json").read_text())["code"] == 1
