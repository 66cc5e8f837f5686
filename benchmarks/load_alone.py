"""What a recorded operation costs in Python: the load of ``benchmarks.load`` without kernel and members.

    python -m benchmarks.load_alone [--clients 128] [--windows 40] [--operations put get]

Connections lead nowhere: what is written to them is answered at once, all of it in the next turn of the loop. What
counts is the cheapest of many short windows, in processor time: others on the machine, who make caches cold, are hardly
seen. What a system call, a smaller batch and a busy machine add is in ``benchmarks.load``. The controls are the same:
``floor`` and ``bare``; ``answers`` is what the answering itself costs, and is in all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from etcd3.etcdrpc import kv_pb2
from etcd3.etcdrpc import rpc_pb2 as pb

from benchmarks.load import Bench, Nowhere, floored, loaded, recorded
from tester.etcd.connect import connect_h2
from tester.etcd.endpoint import Endpoint
from tester.etcd.h2 import frames
from tester.load import values
from tester.load.kinds import OperationKind

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMBERS = tuple(Endpoint(f"m{place}", f"127.0.0.{place}", 2379) for place in (1, 2, 3))
_HEADER = pb.ResponseHeader(cluster_id=2**63 + 1, member_id=2**63 + 2, revision=123_456, raft_term=2)
_VALUE = kv_pb2.KeyValue(
    key=b"b/k00000012", value=values.encode(123, 100), create_revision=55, mod_revision=77, version=12
)
_RESPONSES = {
    OperationKind.PUT: pb.PutResponse(header=_HEADER),
    OperationKind.GET: pb.RangeResponse(header=_HEADER, count=1, kvs=[_VALUE]),
}
_HEAD, _TRAILERS = b"\x88\x0f\x10\x10application/grpc", b"\x00\x0bgrpc-status\x010"
_IN_A_REQUEST = b"application/grpc"
_WINDOW_SECONDS = 0.1
_ANSWERED = 20_000


class Answering(asyncio.Transport):
    """A connection to nobody: each request gets the same answer."""

    def __init__(self, protocol: asyncio.Protocol, response: bytes) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._streams = count(1, 2)
        self._closing = False
        data = b"\0" + len(response).to_bytes(4) + response
        self._parts = [
            (frame[:5], frame[9:])
            for frame in (
                frames.frame(frames.HEADERS, frames.END_HEADERS, 0, _HEAD),
                frames.frame(frames.DATA, 0, 0, data),
                frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0, _TRAILERS),
            )
        ]
        self._say(frames.settings({}) + frames.window_update(0, 2**30))

    def write(self, data: Any) -> None:  # noqa: ANN401 - asyncio's signature
        """Answer whatever is asked in there."""
        if asked := data.count(_IN_A_REQUEST):
            self._say(self.answers(asked))

    def answers(self, number: int) -> bytes:
        """As a member writes them."""
        (a, head), (b, message), (c, trailers) = self._parts
        streams = [next(self._streams).to_bytes(4) for _ in range(number)]
        return b"".join([b"".join((a, s, head, b, s, message, c, s, trailers)) for s in streams])

    def _say(self, data: bytes) -> None:
        self._loop.call_soon(self._protocol.data_received, data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It is never full."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def get_extra_info(self, _name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's signature
        """Nothing is known."""
        return default

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def close(self) -> None:
        """No more."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class Alone(uvloop.Loop):
    """A loop whose connections lead nowhere."""

    response = b""

    async def create_connection(  # type: ignore[override]  # of its ways to be called, the one that is used here
        self, factory: Callable[[], asyncio.Protocol], *_: object, **__: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connected at once."""
        protocol = factory()
        transport = Answering(protocol, self.response)
        protocol.connection_made(transport)
        return transport, protocol


async def measure(options: argparse.Namespace, kind: OperationKind, directory: Path) -> dict[str, float]:
    """CPU µs per operation, by way."""
    bench = Bench(_MEMBERS, (), kind, options.clients, _WINDOW_SECONDS, options.windows)
    transport = Answering(asyncio.Protocol(), Alone.response)
    costs = []
    for _ in range(options.windows):
        began = time.process_time()
        for _ in range(0, _ANSWERED, options.clients):
            transport.answers(options.clients)
        costs.append((time.process_time() - began) / _ANSWERED * 1e6)
    figures = {
        "floor": await floored(bench),
        "bare": await loaded(bench, Nowhere(), connect_h2),
        "recorded": await recorded(directory, bench),
    }
    return {"answers": round(min(costs), 2)} | {name: round(one.cpu_us, 2) for name, one in figures.items()}


def main() -> None:
    """Measure each operation on a loop of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=128)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--operations", nargs="+", default=["put", "get"], choices=["put", "get"])
    options = parser.parse_args()
    found: dict[str, object] = {"clients": options.clients}
    for operation in options.operations:
        kind = OperationKind(operation)
        Alone.response = _RESPONSES[kind].SerializeToString()
        with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=Alone) as runner:
            found[operation] = runner.run(measure(options, kind, Path(directory)))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
