"""Real etcd under the ``process`` supervisor, in a network namespace of the test's own: no port collides."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_service.member import MemberControl
from agent_service.supervisor import create_supervisor
from tester.orchestration.paths import cache_dir
from tests.unit.member.settings import agent_settings

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings

CLONE_NEWNET = 0x40000000

MakeMember = Callable[[], Awaitable[MemberControl]]


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@pytest.fixture
def namespace() -> Iterator[None]:
    """This thread, and whatever it starts, has a network of its own with nothing but a loopback."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a network namespace of its own")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _call("unshare", CLONE_NEWNET)
        try:
            subprocess.run(["/usr/sbin/ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _call("setns", before, CLONE_NEWNET)
    finally:
        os.close(before)


@pytest.fixture
def version(etcd_version: str) -> str:
    return etcd_version


@pytest.fixture
def any_version(newest_etcd: str) -> str:
    return newest_etcd


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return agent_settings(tmp_path, etcd_root=cache_dir() / "etcd")


@pytest.fixture
async def make_member(namespace: None, settings: AgentSettings) -> AsyncIterator[MakeMember]:
    """Makes agents of this host, one after the other; whatever member is left at the end is killed."""
    made: list[MemberControl] = []

    async def make() -> MemberControl:
        for former in made:
            former.close()
        member = MemberControl(settings, create_supervisor(settings))
        made.append(member)
        await member.adopt()
        return member

    yield make
    for member in made:
        member.close()
    process = await create_supervisor(settings).find()  # asked where no mistake of the record matters
    if process is not None:
        os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
async def member(make_member: MakeMember) -> MemberControl:
    return await make_member()


class OtherAgent:
    """An agent in a process of its own, to be killed."""

    def __init__(self, settings: AgentSettings, settings_file: Path, *arguments: str) -> None:
        settings_file.write_text(settings.model_dump_json())
        program = Path(__file__).with_name("other_agent.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(settings_file), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().strip()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


MakeOther = Callable[..., OtherAgent]


@pytest.fixture
def other_agent(namespace: None, settings: AgentSettings, tmp_path: Path) -> Iterator[MakeOther]:
    made: list[OtherAgent] = []

    def make(*arguments: str) -> OtherAgent:
        made.append(OtherAgent(settings, tmp_path / "agent.json", *arguments))
        return made[-1]

    yield make
    for other in made:
        other.kill()
