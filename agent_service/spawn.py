"""Starts programs without copying the agent: a fork of a process of its size costs more than most of what it runs."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores them, and a program that it runs must not."""


class Child:
    """A process of ours. Whoever started it must ``wait`` for it, also after ``kill``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._notice)

    def _notice(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self._ended.set_result(os.waitstatus_to_exitcode(status))

    async def wait(self) -> int:
        """Its exit status, negative for a signal. May be asked again, and given up."""
        code: int = await asyncio.shield(self._ended)
        return code

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if not self.ended:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)


def spawn(
    program: str, argv: tuple[str, ...], environment: Mapping[str, str], standard: Sequence[int]
) -> Child:
    """Start a program; ``standard`` are its input, output and errors, and it has no other file of ours.

    Raises:
        OSError: it cannot be executed.
    """
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(standard)]
    pid = os.posix_spawn(program, argv, environment, file_actions=actions, setsigdef=_DEFAULT_SIGNALS)
    try:
        return Child(pid)
    except OSError:  # nobody could wait for it: it must not go on as if it had never been started
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
