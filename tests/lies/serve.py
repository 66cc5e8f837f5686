"""One lying proxy as a process: ``python -m tests.lies.serve MEMBER LISTEN FORWARD KIND``.

``KIND`` is a name of ``tests.lies.kinds``, or ``truth``. Prints ``ready`` when it listens; ends with its stdin.
"""

from __future__ import annotations

import asyncio
import sys

from tests.lies import KINDS
from tests.lies.proxy import Lie, Proxy


async def serve(member: str, listen: str, forward: str, kind: str) -> None:
    proxy = Proxy(member, listen, forward)
    proxy.lie = Lie() if kind == "truth" else KINDS[kind].make()
    proxy.lie.member = member
    await proxy.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await proxy.stop()
    print(f"told {proxy.lie.told} times", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
