"""What the tester and a worker tell each other, one line each; the order to begin alone is pickled."""

from __future__ import annotations

import base64
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.load.share import Share
    from tester.scenario.stressers import Stresser

PAUSE, RESUME, STOP = b"pause\n", b"resume\n", b"stop\n"
MAX_LINE_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do. It holds passwords and keys: it goes through a pipe, never to a file or an argv."""

    stressers: tuple[Stresser, ...]
    endpoints: tuple[Endpoint, ...]
    clock: RunClock
    seed: int
    prefix: str
    share: Share
    history: Path
    over_grpc: bool

    def encode(self) -> bytes:
        """As one line."""
        return base64.b64encode(pickle.dumps(self)) + b"\n"

    @staticmethod
    def decode(line: bytes) -> Order:
        """The reverse, of a line from the process that started this one."""
        order = pickle.loads(base64.b64decode(line))  # noqa: S301 - our own parent wrote it into our own pipe
        if not isinstance(order, Order):
            raise TypeError("the first line is no order")
        return order


class Stretch(msgspec.Struct, array_like=True):
    """Operations that ended in a tenth of a second: see ``tester.load.statistics``."""

    start_ns: int
    fail: int
    info: int
    max_ns: int
    lag_ns: int
    latencies: dict[int, int]
    errors: dict[str, int]


class Report(msgspec.Struct, tag="report"):
    """What has happened since the last report. Several a second."""

    ok: int
    fail: int
    info: int
    """Totals."""
    lag_seconds: float
    stretches: list[Stretch]
    gaps: list[tuple[int, int]]
    """Ended since the last report: start and end."""
    waiting_since_ns: int | None
    """A gap that has not ended."""
    steps: list[int]
    """Of each stresser, since the start."""


class Paused(msgspec.Struct, tag="paused"):
    """Nothing is in flight, the history is with the kernel, and all statistics have been reported."""


class Failed(msgspec.Struct, tag="failed"):
    """The worker ends because of this."""

    error: str
    remedy: str | None = None


Message = Report | Paused | Failed
