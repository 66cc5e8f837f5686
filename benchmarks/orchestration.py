"""What Ansible and the loop cost around a case, on a lab of three hosts of its own.

The control is a play without tasks on the same hosts, in the same run: what any play costs before it does anything.

    python -m benchmarks.orchestration [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tester.orchestration.lab import Lab, LabSpec
from tester.orchestration.lab.preflight import free_subnet, used_networks
from tester.rundir import RunDirectory

if TYPE_CHECKING:
    from tester.results import RunResult

_ROOT = Path(__file__).parent.parent
_SCENARIO = """
name: overhead
stressers: [{kind: kv, clients: 4, rate: 100/s}]
cases:
  - {name: no-fault, fault: none, steady: 500ms, hold: 500ms, settle: 500ms}
  - {name: kill, fault: kill, target: follower, steady: 500ms, hold: 1s, settle: 500ms}
  - {name: pause, fault: pause, target: follower, steady: 500ms, hold: 1s, settle: 500ms}
  - {name: isolate, fault: isolate, target: follower, steady: 500ms, hold: 1s, settle: 500ms}
"""
_EMPTY = """
- name: Nothing
  hosts: etcd
  gather_facts: false
  tasks: []
"""
_SECONDS = 900


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of orchestration.")
    parser.add_argument("--rounds", type=int, default=3, help="of the scenario (default: %(default)s)")
    asyncio.run(_bench(parser.parse_args().rounds))


async def _bench(rounds: int) -> None:
    used = await used_networks(own_device="")
    spec = LabSpec(
        f"b{os.getpid():x}", 3, free_subnet((network for network, _ in used), first=os.getpid() % 256)
    )
    lab = Lab(spec, lambda _: None)
    try:
        await lab.up()
        with tempfile.TemporaryDirectory() as scratch:
            await asyncio.to_thread(_measure, lab.inventory, Path(scratch), rounds)
    finally:
        await lab.down()


def _measure(inventory: Path, scratch: Path, rounds: int) -> None:
    empty, scenario = scratch / "empty.yml", scratch / "overhead.yml"
    empty.write_text(_EMPTY, encoding="utf-8")
    scenario.write_text(_SCENARIO, encoding="utf-8")
    control = median(_play(empty, inventory) for _ in range(3))
    first = _play(_ROOT / "playbooks" / "deploy.yml", inventory)
    again = _play(_ROOT / "playbooks" / "deploy.yml", inventory)
    result = _run(inventory, scenario, scratch / "runs", rounds)
    print(f"{'':44} {'seconds':>8} {'target':>7} {'of control':>11}")
    _line("control: a play without tasks, 3 hosts", control, None, control)
    _line("deploy from nothing", first, 60.0, control)
    _line("deploy again", again, 15.0, control)
    _line("provision a round", median(r.provision_seconds for r in result.rounds), 3.0, control)
    _line("clean up a round", median(r.cleanup_seconds for r in result.rounds), 3.0, control)
    overheads = [case.overhead_seconds for finished in result.rounds for case in finished.cases]
    _line("case beyond hold and etcd's recovery, median", median(overheads), 0.3, control)
    _line("case beyond hold and etcd's recovery, worst", max(overheads), None, control)


def _line(what: str, seconds: float, target: float | None, control: float) -> None:
    wanted = "" if target is None else f"{target:g}"
    print(f"{what:44} {seconds:8.2f} {wanted:>7} {seconds / control:10.1f}x")


def _play(playbook: Path, inventory: Path) -> float:
    started = time.monotonic()
    _call([_script("ansible-playbook"), str(playbook), "-i", str(inventory)])
    return time.monotonic() - started


def _run(inventory: Path, scenario: Path, output: Path, rounds: int) -> RunResult:
    argv = [_script("etcd-chaos"), "run", "--inventory", str(inventory), "--scenario", str(scenario)]
    _call([*argv, "--rounds", str(rounds), "--output", str(output)])
    result = RunDirectory.open(output / "latest").read_result()
    if result is None:
        raise RuntimeError(f"the run in {output} wrote no result")
    return result


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _call(argv: list[str]) -> None:
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        said = f"{done.stdout[-3000:]}\n{done.stderr[-1000:]}"
        raise RuntimeError(f"{' '.join(argv[:3])} ended with {done.returncode}:\n{said}")


if __name__ == "__main__":
    main()
