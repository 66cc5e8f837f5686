from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_service.processes import (
    ProcessId,
    ProcessStat,
    ProcessWatch,
    boot_id,
    identify,
    is_alive,
    is_stopped,
    parse_stat,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 20.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def identity(process: subprocess.Popen[bytes]) -> ProcessId:
    found = identify(process.pid)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["etcd", "a b", ") R 1 (", "x) S"])
def test_stat_is_read_behind_any_command_name(name: str) -> None:
    fields = " ".join(["T", *(str(number) for number in range(4, 53))])
    assert parse_stat(f"17 ({name}) {fields}\n") == ProcessStat(state="T", start_ticks=22)


def test_a_live_process_is_itself_and_no_other(child: subprocess.Popen[bytes]) -> None:
    process = identity(child)
    assert is_alive(process)
    assert not is_alive(replace(process, start_ticks=process.start_ticks + 1)), "the pid was used again"
    assert not is_alive(replace(process, boot_id="another")), "the host was rebooted"


def test_a_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    process = identity(child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identify(child.pid) == process
    assert not is_alive(process)


def wait_until_child(pid: int, state: int) -> None:
    os.waitid(os.P_PID, pid, state)


async def test_stopped_and_continued(child: subprocess.Popen[bytes]) -> None:
    process = identity(child)
    watch = ProcessWatch(process, lambda _: None)
    assert not is_stopped(process)
    watch.send(signal.SIGSTOP)
    wait_until_child(child.pid, os.WSTOPPED)
    assert is_stopped(process)
    watch.send(signal.SIGCONT)
    wait_until_child(child.pid, os.WCONTINUED)
    assert not is_stopped(process)
    watch.close()


async def test_an_end_is_noticed(child: subprocess.Popen[bytes]) -> None:
    seen: list[ProcessWatch] = []
    watch = ProcessWatch(identity(child), seen.append)
    assert not await watch.wait(0.05), "nothing has ended yet"
    watch.send(signal.SIGKILL)
    assert await watch.wait(PATIENCE_SECONDS)
    assert seen == [watch]
    watch.send(signal.SIGKILL)  # to nobody


TWO_THREADS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


async def test_a_process_ends_with_its_last_thread() -> None:
    """The first is a zombie meanwhile: what it was that ended, and whether it lets go, nobody knows yet."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", TWO_THREADS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    process = identify(child.pid)
    assert process is not None
    watch = ProcessWatch(process, lambda _: None)
    assert not await watch.has_ended(), "the control: it lives, and nobody waits"
    await child.stdout.readline()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while is_alive(process):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert not watch.ended, "the other thread goes on"
    waiting = asyncio.create_task(watch.has_ended())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    child.stdin.close()
    assert await waiting
    await child.wait()


async def test_another_process_under_the_same_pid_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    process = identity(child)
    seen: list[ProcessWatch] = []
    watch = ProcessWatch(replace(process, start_ticks=process.start_ticks - 1), seen.append)
    assert watch.ended
    watch.send(signal.SIGKILL)
    await asyncio.sleep(0.05)
    assert child.poll() is None, "somebody else's process was killed"
    assert seen == [watch]


async def test_a_pid_that_nobody_has() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", "")
    await process.wait()
    seen: list[ProcessWatch] = []
    watch = ProcessWatch(ProcessId(process.pid, 1, boot_id()), seen.append)
    assert watch.ended
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == [watch]


async def test_closed_watches_tell_nobody(child: subprocess.Popen[bytes]) -> None:
    seen: list[ProcessWatch] = []
    watch = ProcessWatch(identity(child), seen.append)
    watch.close()
    watch.close()
    child.kill()
    await asyncio.sleep(0.02)
    assert seen == []
