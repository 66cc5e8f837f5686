"""The agent's end of the socket to a layer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service.disk.messages import LONGEST_LINE, Answer, Refusal
from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.disk.messages import Request, State

_TIMEOUT_SECONDS: Final = 10.0
_REMEDY: Final = "see disk.log in the agent's log directory; the member's data lie whole on the host's disk"


async def say(socket: Path, request: Request) -> State:
    """Say it, and return how the layer is then.

    Raises:
        UnavailableError: nobody answers, or what was asked could not be done.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=LONGEST_LINE)
            try:
                writer.write(msgspec.json.encode(request) + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
        answer: Answer = msgspec.json.decode(line, type=Answer)
    except (OSError, TimeoutError, ValueError) as error:
        raise UnavailableError(f"the disk layer does not answer: {error!r}", remedy=_REMEDY) from error
    if isinstance(answer, Refusal):
        raise UnavailableError(f"the disk layer: {answer.detail}", remedy=_REMEDY)
    return answer
