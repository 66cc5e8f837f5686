"""What one call to an agent costs over mutual TLS on loopback, and what the agent weighs.

The agent is a process of its own, as on a host; the control is a bare TLS echo in another one, with the same
certificates, in the same run. Calls alternate between the two in short batches, so that what else the machine
does hits both alike.

    python -m benchmarks.agent_rpc [--calls N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from tests.agent.process import ROOT, Process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_BATCH = 100
_ECHO_PORT = 9028
_MESSAGE = b"x" * 400
_CONTROL = "control: TLS echo"
_RPC = "GET /v1/member"
_TARGET_P50_MS = 1.0
_TARGET_RSS_MIB = 60.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of a call to an agent.")
    parser.add_argument("--calls", type=int, default=2000, help="of each kind (default: %(default)s)")
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as directory:
        agent = Process(Path(directory), "agent_service", "serve", "--settings")
        try:
            agent.write_settings(requests_per_second=100_000)
            agent.start()
            with _echo(agent), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                _report(*runner.run(_measure(agent, calls)))
        finally:
            agent.close()


@contextmanager
def _echo(agent: Process) -> Iterator[None]:
    argv = [sys.executable, "-m", "benchmarks.tls_echo", str(agent.directory), agent.address, str(_ECHO_PORT)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            if not process.stdout or process.stdout.readline() != b"ready\n":
                raise RuntimeError("the echo did not start")
            yield
        finally:
            process.kill()


async def _measure(agent: Process, calls: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of each call by kind, and the agent's RSS in MiB afterwards."""
    reader, writer = await asyncio.open_connection(agent.address, _ECHO_PORT, ssl=agent.tls().context)

    async def echo() -> None:
        writer.write(_MESSAGE)
        await reader.readexactly(len(_MESSAGE))

    async with agent.client() as client:
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            _CONTROL: echo,
            "GET /v1/clock": client.clock,
            _RPC: client.member,
            "GET /v1/faults": client.faults,
            "GET /v1/usage": client.usage,
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(max(1, calls // _BATCH)):
            for name, call in ways.items():
                taken[name] += [await _timed(call) for _ in range(_BATCH)]
        rss_mib = (await client.usage()).agent.rss_bytes / 2**20
    writer.close()
    await writer.wait_closed()
    return taken, rss_mib


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


def _report(taken: dict[str, list[float]], rss_mib: float) -> None:
    control = statistics.median(taken[_CONTROL])
    print(f"{'':20} {'p50 ms':>8} {'p99 ms':>8} {'of control':>11}")
    for name, seconds in taken.items():
        p50, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
        print(f"{name:20} {p50 * 1e3:8.3f} {p99 * 1e3:8.3f} {p50 / control:10.1f}x")
    p50_ms = statistics.median(taken[_RPC]) * 1e3
    print(f"agent RPC over mTLS, p50: {p50_ms:.2f} ms (target: at most {_TARGET_P50_MS:g} ms)")
    print(f"agent RSS: {rss_mib:.1f} MiB (target: at most {_TARGET_RSS_MIB:g} MiB)")


if __name__ == "__main__":
    main()
