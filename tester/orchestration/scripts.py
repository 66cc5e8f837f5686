"""Scripts of the user's, run on the controller: an argv, a deadline, output kept in a file."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tester.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LAST_WORDS: Final = 500


class ScriptError(InfrastructureError):
    """A script could not be run, failed, or took too long; the message has its last words."""


class NoScriptError(ScriptError):
    """It could not be run: nothing of it has happened."""


def program_of(script: str) -> str:
    """What to execute; as the user wrote it but for ``~``: a path that lost its ``./`` would be looked for in PATH."""
    return os.path.expanduser(script)  # noqa: PTH111 - that is what pathlib does


async def run_script(argv: Sequence[str], output: Path, timeout_seconds: float) -> None:
    """Run a script to its end; what it prints is added to ``output``, under a line with its command.

    It gets a process group of its own, which is killed as a whole when the time is over, or whoever waits gives up.

    Raises:
        NoScriptError: there is no such program.
        ScriptError: its exit status is not 0, or the time is over.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as log:
        log.write(f"$ {' '.join(argv)}\n".encode())
        log.flush()
        began = log.tell()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise NoScriptError(
                f"{argv[0]}: {error.strerror}", remedy="is it there, and executable?"
            ) from error
        try:
            async with asyncio.timeout(timeout_seconds):
                code = await process.wait()
        except TimeoutError:
            what = f"took more than {timeout_seconds:g} s"
            raise ScriptError(
                f"{argv[0]} {what}{_last_words(output, began)}", remedy=f"see {output}"
            ) from None
        finally:
            with suppress(
                ProcessLookupError
            ):  # also what it left in the background: it would outlive the run
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise ScriptError(
            f"{' '.join(argv)} ended with status {code}{_last_words(output, began)}", remedy=f"see {output}"
        )


def _last_words(output: Path, began: int) -> str:
    with output.open("rb") as log:
        log.seek(max(began, output.stat().st_size - _LAST_WORDS))
        said = log.read().decode(errors="replace").strip()
    return f": {said}" if said else ""
