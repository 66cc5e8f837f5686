"""A long run of random faults: memory, open files and disk of tester and agents, minute by minute.

``python -m benchmarks.soak --inventory inventory/ --minutes 60``. Growth is the mean of the last quarter against the
mean of the second one: the first is warm-up. Of the tester's files it is the most of a quarter: connections come and
go with the phases of a round, and a leak raises all. The run is ended with SIGTERM, as a person would, and has to be
valid.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from agent_client import AgentClientError
from tester.agents import connect
from tester.errors import ExitCode
from tester.rundir import RunDirectory
from tester.session import open_session

if TYPE_CHECKING:
    from agent_client import AgentClient

_MIB = 1024**2
_LIMIT = 0.05
_SCENARIO = """\
name: soak
stressers: [{kind: kv, clients: 8, rate: 200/s}]
nemesis: {kind: random, cases: 5, hold: 2s}
"""


@dataclass(frozen=True)
class Sample:
    """One minute. Of the agents, the largest."""

    tester_mib: float
    tester_files: int
    agent_mib: float
    agent_files: int
    disk_mib: float


async def main() -> int:
    """Run it; the exit code is 1 where something grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inventory", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="etcd-chaos-soak-") as folder:
        samples, code, rounds = await _soak(options.inventory, options.minutes, Path(folder))
    print(f"{rounds} rounds in {options.minutes:g} minutes, exit code {code}")
    grown = [_report(name, [getattr(sample, name) for sample in samples]) for name in Sample.__annotations__]
    return int(any(grown) or code != ExitCode.INTERRUPTED)


async def _soak(inventory: Path, minutes: float, folder: Path) -> tuple[list[Sample], int, int]:
    scenario = folder / "soak.yml"
    scenario.write_text(_SCENARIO)
    command = (
        "run",
        "--json",
        "-i",
        inventory,
        "-s",
        scenario,
        "-o",
        folder,
        "--rounds",
        "0",
        "--keep-rounds",
        "3",
    )
    async with open_session(inventory, lambda _: None) as session:
        known = session.inventory
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from tester.cli import main; main()",
        *map(str, command),
        stdout=asyncio.subprocess.DEVNULL,
    )
    tester = psutil.Process(process.pid)
    samples: list[Sample] = []
    async with connect(known) as agents:
        until = time.monotonic() + minutes * 60
        pause = min(60.0, minutes * 60 / 16)
        while time.monotonic() < until and process.returncode is None:
            await asyncio.sleep(pause)
            sample = await _sample(tester, agents, folder)
            if sample is not None:
                samples.append(sample)
                print(" ".join(f"{name} {value:.4g}" for name, value in vars(sample).items()), flush=True)
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    code = await process.wait()
    result = RunDirectory.open(folder / "latest").read_result()
    worst = [round_.exit_code for round_ in result.rounds[:-1]] if result else []
    return samples, int(ExitCode.worst(*worst, ExitCode(code))), result.rounds_total if result else 0


async def _sample(tester: psutil.Process, agents: dict[str, AgentClient], folder: Path) -> Sample | None:
    """The figures now; ``None`` while an agent does not answer: a fault may be on it."""
    try:
        usages = [await agent.usage() for agent in agents.values()]
    except AgentClientError:
        return None
    if not tester.is_running():
        return None
    return Sample(
        tester_mib=tester.memory_info().rss / _MIB,
        tester_files=tester.num_fds(),
        agent_mib=max(usage.agent.rss_bytes for usage in usages) / _MIB,
        agent_files=max(usage.agent.open_files for usage in usages),
        disk_mib=await asyncio.to_thread(_size, folder) / _MIB,
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _report(name: str, values: list[float]) -> bool:
    """Print how much it grew; whether that is more than it may."""
    quarter = len(values) // 4
    if quarter == 0:
        print(f"{name}: too few samples")
        return True
    of_quarter = max if name == "tester_files" else statistics.mean
    early, late = of_quarter(values[quarter : 2 * quarter]), of_quarter(values[-quarter:])
    growth = late / early - 1 if early else 0.0
    # A few files more or less are not a leak.
    grown = growth > _LIMIT and late - early > 3
    print(f"{name}: {early:.4g} -> {late:.4g}, {growth:+.1%}{' GROWS' if grown else ''}")
    return grown


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
