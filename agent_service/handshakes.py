"""TLS handshakes under way, and how many there may be.

Whoever connects has proved nothing yet, and already costs memory and a file: enough of them would keep the agent from
healing. A handshake takes milliseconds, so when there are too many, the one that has waited longest goes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

HANDSHAKE_SECONDS = 5.0
MAX_HANDSHAKES = 256
_PAUSE_SECONDS: Final = 1.0
"""After an accept that failed: the process has no file left for it."""

_log = logging.getLogger(__name__)


class Door:
    """Accepts connections on a socket that listens, until it is closed.

    Args:
        listener: stays its owner's to close.
        context: of the handshake.
        make_protocol: what speaks on a connection whose handshake is done.
    """

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        listener.settimeout(0.0)
        self._listener = listener
        self._context = context
        self._make_protocol = make_protocol
        self._waiting: dict[asyncio.Task[None], None] = {}
        """Handshakes under way, the oldest first."""
        self._told = False
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept nobody any more; who is in stays in."""
        for task in (self._accepting, *self._waiting):
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.error("cannot accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._waiting) >= MAX_HANDSHAKES:
                if not self._told:
                    _log.warning(
                        "%d handshakes are under way: for each new one the oldest is dropped", MAX_HANDSHAKES
                    )
                self._told = True  # once, until there is room again: a siege must not fill the journal
                oldest = next(iter(self._waiting))
                del self._waiting[oldest]
                oldest.cancel()
            task = asyncio.create_task(self._shake_hands(connection))
            self._waiting[task] = None
            task.add_done_callback(self._done)
            await asyncio.sleep(0)  # while more wait to be accepted, nobody else would have a turn

    def _done(self, task: asyncio.Task[None]) -> None:
        self._waiting.pop(task, None)
        self._told &= len(self._waiting) > MAX_HANDSHAKES // 2

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:  # no TLS, a certificate that is not taken, too slow, or gone
            _log.debug("a handshake failed: %s", error)
