"""Runs a command of the host's: an argv list, never a shell, with a deadline and bounded output."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS: Final = 15.0
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


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
    try:
        with _input(stdin) as source:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=source,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_ENVIRONMENT,
            )
    except OSError as error:
        raise UnavailableError(f"cannot run {argv[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_seconds):
            stdout, stderr = await process.communicate()
    except TimeoutError as error:
        raise UnavailableError(f"{' '.join(argv[:3])} took more than {timeout_seconds:g} s") from error
    finally:
        if process.returncode is None:  # timed out, or whoever asked gave up
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    code = process.returncode
    if code is None:
        raise RuntimeError("a process that was waited for has an exit status")
    return Completed(argv, code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


@contextmanager
def _input(text: str) -> Iterator[int]:
    """A file in memory to read ``text`` from: a command that ends early breaks no pipe of ours."""
    handle = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        os.write(handle, text.encode())
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


async def check(argv: tuple[str, ...], *, stdin: str = "") -> Completed:
    """Run, and raise ``UnavailableError`` with what the command said when it fails."""
    completed = await run(argv, stdin=stdin)
    if completed.code != 0:
        raise UnavailableError(f"{' '.join(argv[:3])}: {completed.complaint}")
    return completed
