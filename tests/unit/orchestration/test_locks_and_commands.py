from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tester.errors import InfrastructureError
from tester.orchestration.commands import run_command
from tester.orchestration.locks import file_lock

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside = 0
    waits: list[str] = []

    async def enter() -> None:
        nonlocal inside
        async with file_lock(tmp_path / "lock", waits.append, timeout_seconds=30):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(3)))
    assert waits


async def test_a_lock_that_stays_taken_is_an_error(tmp_path: Path) -> None:
    async with file_lock(tmp_path / "lock", lambda _: None, timeout_seconds=5):
        with pytest.raises(InfrastructureError, match="held by another process"):
            async with file_lock(tmp_path / "lock", lambda _: None, timeout_seconds=0.2):
                pytest.fail("two holders")


async def test_a_command_answers_with_its_output() -> None:
    assert await run_command([sys.executable, "-c", "print('hello')"], timeout_seconds=30) == "hello\n"


async def test_a_failed_command_says_why() -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('because')"]
    with pytest.raises(InfrastructureError, match="exit status 1\nbecause") as caught:
        await run_command(argv, timeout_seconds=30, remedy="try again")
    assert caught.value.remedy == "try again"
    with pytest.raises(InfrastructureError, match="No such file"):
        await run_command(["/nowhere/at/all"], timeout_seconds=1)


async def test_a_command_that_takes_too_long_is_ended() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(InfrastructureError, match="not done after"):
        await run_command(["sleep", "600"], timeout_seconds=0.1)
    assert {child.pid for child in psutil.Process().children()} <= before
