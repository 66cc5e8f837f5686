"""A program that nobody could wait for does not run on."""

from __future__ import annotations

import errno
import os

import pytest

from agent_service.commands import run
from agent_service.errors import UnavailableError


async def test_a_program_that_could_not_be_watched_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def no_file_left(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_file_left)
    with pytest.raises(UnavailableError, match="cannot run sleep: Too many open files"):
        await run(("sleep", "60"))
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
