"""Why a connection was lost: a look at the handshake alone, after the fact.

In TLS 1.3 a client is done with its handshake before the server has looked at its certificate. A server on
asyncio then closes without an alert, which looks like an agent that died. An agent that takes the certificate
waits for a request instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

PATIENCE_SECONDS = 3.0


async def certificate_is_refused(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Whether whoever listens there hangs up on this certificate without having been asked anything."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (TimeoutError, ConnectionRefusedError):
        return False
    except (ssl.SSLError, ConnectionError):
        return True
    except OSError:
        return False
    return True
