"""Runs a command of the host's: an argv list, never a shell, with a deadline and bounded output."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_service.errors import UnavailableError
from agent_service.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS: Final = 15.0
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for, and nowhere else."""
_ENVIRONMENT: Final = {"PATH": PATH, "LC_ALL": "C"}
_MOST_BYTES: Final = 64 << 20
"""Of what a command says, that is read."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. ``code`` is negative for a signal."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """What it said went wrong, in one line."""
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return lines[0][:300] if lines else f"exit status {self.code}"


async def run(
    argv: tuple[str, ...],
    *,
    stdin: str = "",
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Completed:
    """Run to the end and return how it ended; a failure is for the caller to judge.

    Raises:
        UnavailableError: there is no such program, or it took too long (it is killed then).
    """
    program = shutil.which(argv[0], path=PATH)
    if program is None:
        raise UnavailableError(f"cannot run {argv[0]}: there is no such program")
    with _in_memory(stdin) as source, _in_memory() as output, _in_memory() as errors:
        try:
            child = spawn(program, argv, _ENVIRONMENT, (source, output, errors))
        except OSError as error:
            raise UnavailableError(f"cannot run {argv[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(timeout_seconds):
                code = await child.wait()
        except TimeoutError as error:
            raise UnavailableError(f"{' '.join(argv[:3])} took more than {timeout_seconds:g} s") from error
        finally:
            if not child.ended:  # timed out, or whoever asked gave up
                child.kill()
                await child.wait()
        return Completed(argv, code, _text(output), _text(errors))


@contextmanager
def _in_memory(text: str = "") -> Iterator[int]:
    """A file in memory: a command that ends early breaks no pipe of ours, and one that says much waits for nobody."""
    handle = os.memfd_create("standard", os.MFD_CLOEXEC)
    try:
        os.write(handle, text.encode())
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def _text(handle: int) -> str:
    return os.pread(handle, _MOST_BYTES, 0).decode(errors="replace")


async def check(argv: tuple[str, ...], *, stdin: str = "") -> Completed:
    """Run, and raise ``UnavailableError`` with what the command said when it fails."""
    completed = await run(argv, stdin=stdin)
    if completed.code != 0:
        raise UnavailableError(f"{' '.join(argv[:3])}: {completed.complaint}")
    return completed
