"""A member without etcd: a sleeping process behind the calls that faults make."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, cast

from agent_service.models import MemberSpec, MemberState
from agent_service.processes import ProcessId, identify

if TYPE_CHECKING:
    from agent_service.errors import AgentServiceError
    from agent_service.member import MemberControl


class FakeMember:
    """Does what ``MemberControl`` does to its process, unless told to do nothing, or to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.idle: set[str] = set()
        """Calls that do nothing: faults without effect."""
        self.broken: dict[str, AgentServiceError] = {}
        self.state = MemberState.UNINITIALIZED
        self.spec: MemberSpec | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def as_control(self) -> MemberControl:
        return cast("MemberControl", self)

    @property
    def process(self) -> ProcessId | None:
        return identify(self._child.pid) if self._child is not None else None

    def lives(self) -> bool:
        return self.process is not None

    def launch(self) -> None:
        self._child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        self.state = MemberState.RUNNING

    def end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        self.state = MemberState.STOPPED

    def _does(self, call: str) -> bool:
        self.calls.append(call)
        if call in self.broken:
            raise self.broken[call]
        return call not in self.idle

    is_sound = True

    def require_sound(self) -> None:
        pass

    async def foresee_end(self, cause: str, signals: tuple[int, ...]) -> None:
        self.calls.append("foresee end")

    async def foresee_no_end(self) -> int:
        self.calls.append("foresee no end")
        return 0

    async def quit(self, cause: str) -> None:
        if self._does("quit"):
            self.end()

    async def stop(self, grace_seconds: float, cause: str) -> None:
        if self._does("stop"):
            self.end()

    async def kill(self, cause: str) -> None:
        await asyncio.sleep(0)
        if self._does("kill"):
            self.end()

    async def pause(self) -> None:
        if self._does("pause") and self._child is not None:
            self._child.send_signal(signal.SIGSTOP)
            self.state = MemberState.PAUSED

    async def resume(self) -> None:
        if self._does("resume") and self._child is not None:
            self._child.send_signal(signal.SIGCONT)
            self.state = MemberState.RUNNING

    async def recover(self) -> None:
        if self._does("recover") and self.state in {MemberState.STOPPED, MemberState.EXITED}:
            self.launch()
