"""Commands on the controller: argv in, standard output out, always with a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tester.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SHOWN_LINES = 8
"""How much of a failed command's own words goes into the error: the end says why."""


async def run_command(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    remedy: str | None = None,
) -> str:
    """Run a command to its end and return its standard output.

    A cancelled caller takes the command with it.

    Raises:
        InfrastructureError: it is not there, took too long, or ended with a status other than 0; the message
            has the last lines it wrote.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=env,
        )
    except OSError as error:
        raise InfrastructureError(f"{argv[0]}: {error.strerror}", remedy=remedy) from error
    try:
        async with asyncio.timeout(timeout_seconds):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise InfrastructureError(
            f"{_shown(argv)}: not done after {timeout_seconds:.0f} s", remedy=remedy
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = (err.strip() or out.strip()).decode(errors="replace").splitlines()[-_SHOWN_LINES:]
        raise InfrastructureError(
            "\n".join([f"{_shown(argv)}: exit status {process.returncode}", *said]), remedy=remedy
        )
    return out.decode(errors="replace")


def _shown(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 160 else text[:157] + "..."
