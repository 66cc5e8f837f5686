"""What libnftables is asked to do waits for nobody else's work."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from agent_service.commands import Completed
from agent_service.faults import nft

if TYPE_CHECKING:
    import pytest


class FakeLibrary:
    def run(self, argv: tuple[str, ...], stdin: str) -> Completed:
        return Completed(argv, 0, "", "")


async def test_an_undo_does_not_wait_for_a_disk_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "_library", FakeLibrary)
    monkeypatch.setattr(nft, "TIMEOUT_SECONDS", 2.0)
    disk_is_back = threading.Event()
    threads = min(32, (os.cpu_count() or 1) + 4)  # of all that anything else is done in
    hanging = [asyncio.create_task(asyncio.to_thread(disk_is_back.wait, 30)) for _ in range(threads)]
    await asyncio.sleep(0)
    try:
        done = await nft.check(("nft", "delete", "table", "inet", "etcd_chaos_x"))
    finally:
        disk_is_back.set()
        await asyncio.gather(*hanging)
    assert done.code == 0
