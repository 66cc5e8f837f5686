"""Whether a member survived its first moments."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_service.launch import HostPort

_RETRY_SECONDS: Final = 0.01
_ANSWER_SECONDS: Final = 1.0


async def answers(endpoint: HostPort) -> bool:
    """Whether whatever listens on a peer port answers HTTP with anything at all.

    etcd serves peers as soon as it has read its data and joined, before there is a leader or quorum; its
    client port accepts earlier, and serves later. A TLS listener answers plain HTTP with an error, which is
    an answer too.
    """
    try:
        reader, writer = await asyncio.open_connection(endpoint.address, endpoint.port)
    except OSError:
        return False
    try:
        writer.write(b"GET /version HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(_ANSWER_SECONDS):
            return bool(await reader.read(1))
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until_answers(endpoint: HostPort) -> None:
    """Return once ``answers``; for ever otherwise, so give it a deadline."""
    while not await answers(endpoint):  # noqa: ASYNC110 - the event is in another process
        await asyncio.sleep(_RETRY_SECONDS)
