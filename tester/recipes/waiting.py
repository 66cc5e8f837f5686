"""Waiting for the end of a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from etcd3.etcdrpc import kv_pb2

from tester.etcd.errors import RpcError
from tester.etcd.watch import WatchStream

if TYPE_CHECKING:
    from tester.etcd.endpoint import Endpoint


async def until_deleted(endpoint: Endpoint, key: str, revision: int, timeout: float) -> bool:
    """Wait for the deletion of ``key`` after ``revision``; whether it was seen within ``timeout`` seconds.

    A watch that fails is no error: who waits has to look again anyway.
    """
    try:
        async with asyncio.timeout(timeout), WatchStream(endpoint) as stream:
            await stream.create(key, b"", revision + 1)
            while True:
                response = await stream.read()
                if response.canceled:
                    return False
                if any(event.type == kv_pb2.Event.DELETE for event in response.events):
                    return True
    except (RpcError, TimeoutError):
        return False
