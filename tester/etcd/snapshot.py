"""A member's snapshot, streamed to a file and compared with the hash at its end."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

import grpc.aio
from etcd3.etcdrpc import rpc_pb2 as pb

from agent_service.models import MAX_SNAPSHOT_BYTES
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.grpc_channel import rpc_error
from tester.etcd.streams import own_connection, own_token

if TYPE_CHECKING:
    from pathlib import Path

    from tester.etcd.endpoint import Endpoint

_METHOD: Final = "/etcdserverpb.Maintenance/Snapshot"
_HASH_BYTES: Final = hashlib.sha256().digest_size
_READ_BYTES: Final = 1024 * 1024


async def save_snapshot(endpoint: Endpoint, file: Path, limit_seconds: float) -> int:
    """Write a member's database of now to ``file``, which must not exist; its size in bytes.

    It is what ``etcdctl snapshot save`` writes: the database, and the SHA-256 of it as the last bytes.

    Raises:
        RpcError: the member did not send it whole within ``limit_seconds``; the file is gone then.
        OSError: the disk does not take it.
    """
    try:
        async with asyncio.timeout(limit_seconds):
            size = await _receive(endpoint, file)
        await asyncio.to_thread(_verify, file, size)
    except BaseException as error:
        await asyncio.to_thread(file.unlink, missing_ok=True)
        if isinstance(error, TimeoutError):
            raise RpcError(
                StatusCode.DEADLINE_EXCEEDED, f"no whole snapshot within {limit_seconds:g} s"
            ) from error
        if isinstance(error, grpc.aio.AioRpcError):
            raise rpc_error(error) from None
        raise
    return size


async def _receive(endpoint: Endpoint, file: Path) -> int:
    size = 0
    metadata = await own_token(endpoint)
    async with own_connection(endpoint) as channel:
        ask = channel.unary_stream(
            _METHOD,
            request_serializer=pb.SnapshotRequest.SerializeToString,
            response_deserializer=pb.SnapshotResponse.FromString,
        )
        with await asyncio.to_thread(file.open, "xb") as target:
            async for piece in ask(pb.SnapshotRequest(), metadata=metadata):
                size += len(piece.blob)
                if size > MAX_SNAPSHOT_BYTES:
                    raise RpcError(
                        StatusCode.OUT_OF_RANGE, f"a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes"
                    )
                await asyncio.to_thread(target.write, piece.blob)
    return size


def _verify(file: Path, size: int) -> None:
    digest = hashlib.sha256()
    left = size - _HASH_BYTES
    with file.open("rb") as opened:
        while left > 0 and (data := opened.read(min(left, _READ_BYTES))):
            digest.update(data)
            left -= len(data)
        if left != 0 or opened.read() != digest.digest():
            raise RpcError(
                StatusCode.DATA_LOSS, f"{size} bytes came, and not with the hash that they end with"
            )
