"""How long the verdict ``linearizable`` takes, how much memory, how that grows, and what reading costs.

    python -m benchmarks.check [--sizes 10000,100000,1000000,10000000] [--mixes single,unknown,mixed]

Each row is a process of its own, so that its peak memory is its own. Seconds are of processor time on one core.
A check is measured once in a fresh process, where every array is memory that the kernel must first find and
clear, and once again; its control is a bare sort of the same columns in the same process: revision with real
time, key with revision. Reading is counted apart, from JSONL and from Parquet; its control is decoding the same
lines into nothing. A long JSONL file is read by several processes: seconds by the clock stand beside those of
all processors.

More than a million operations are a history of a million, again and again in memory: all keys are deleted at
its end, and each turn has its own times, ids, values and revisions. Such a row has no files to read.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.histories import TURN, make, repeated
from tester.checkers import run_checkers
from tester.history.columns import LeafCol, OpCol
from tester.history.endstate import EndState
from tester.history.loading import load_history
from tester.history.reader import HistoryReader
from tester.results import Verdict

if TYPE_CHECKING:
    from tester.history.history import History

MIXES = ("single", "unknown", "mixed")
"""Puts, gets and deletes of single keys; the same with 5 % unknown outcomes; with a third of ranges, range
deletions and transactions."""


def measure(operations: int, directory: Path) -> dict[str, float]:
    """One row, in this process; all but what reading Parquet costs."""
    jsonl, parquet = directory / "history.jsonl", directory / "history.parquet"
    started, worked = time.perf_counter(), _processor_seconds()
    history = load_history(jsonl)
    # Reading ends with all columns made.
    _ = [table.columns for table in history.tables.values()]
    reading, work = time.perf_counter() - started, _processor_seconds() - worked
    turns = -(-operations // TURN)
    found = measure_verdict(history if turns == 1 else repeated(history, turns))
    if turns > 1:
        return found
    return found | {
        "jsonl": reading,
        "jsonl_work": work,
        "jsonl_bytes": jsonl.stat().st_size / operations,
        "parquet_bytes": sum(file.stat().st_size for file in parquet.iterdir()) / operations,
    }


def measure_verdict(history: History) -> dict[str, float]:
    """Checking one history, twice, beside the bare sort."""
    memory = _peak_mib()
    ops, leaves = history.operations.rows.columns, history.operations.leaves.columns
    first, again = (_check(history) for _ in range(2))
    peak = _peak_mib()
    started = time.process_time()
    np.argsort(2 * ops[OpCol.REV] + (ops[OpCol.WROTE] == 0), kind="stable")
    np.argsort((leaves[LeafCol.KEY] << 38) | ops[OpCol.REV, leaves[LeafCol.OP]], kind="stable")
    control = time.process_time() - started
    return {
        "first": first,
        "again": again,
        "control": control,
        "peak": peak,
        "history": memory,
    }


def measure_parquet(directory: Path) -> dict[str, float]:
    """Reading Parquet, in this process, and then the control of reading lines."""
    started = time.process_time()
    load_history(directory / "history.parquet")
    reading = time.process_time() - started
    started = time.process_time()
    for _ in HistoryReader(directory / "history.jsonl").batches():
        pass
    return {"parquet": reading, "decoding": time.process_time() - started}


def _check(history: History) -> float:
    started = time.process_time()
    (result,) = run_checkers(["linearizable"], history, EndState(2**61, {}))
    if result.verdict is not Verdict.VALID:
        raise SystemExit(f"a right history is {result.verdict}: {result.message}")
    return time.process_time() - started


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000")
    parser.add_argument("--mixes", default=",".join(MIXES))
    parser.add_argument("--directory", type=Path, help="for the histories; default: one that is removed")
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "MIX", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, mix, size = arguments.one
        if what == "make":
            make(mix, int(size), arguments.directory)
        else:
            found = (
                measure(int(size), arguments.directory)
                if what == "jsonl"
                else measure_parquet(arguments.directory)
            )
            print(json.dumps(found))
        return
    print(
        "| mix | operations | first s | again s | bare sort s | again / sort | peak MiB | history MiB", end=""
    )
    print(" | JSONL s | of all processors s | decoding s | Parquet s | JSONL B/op | Parquet B/op |")
    print("|---|" + "---:|" * 13)
    for mix in arguments.mixes.split(","):
        for size in arguments.sizes.split(","):
            with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
                _child("make", mix, size, directory)
                row = json.loads(_child("jsonl", mix, size, directory))
                if "jsonl" in row:
                    row |= json.loads(_child("parquet", mix, size, directory))
            print(
                f"| {mix} | {size} | {row['first']:.3f} | {row['again']:.3f} | {row['control']:.3f}"
                f" | {row['again'] / row['control']:.1f} | {row['peak']} | {row['history']}",
                end="",
            )
            if "jsonl" in row:
                print(f" | {row['jsonl']:.3f} | {row['jsonl_work']:.3f}", end="")
                print(f" | {row['decoding']:.3f} | {row['parquet']:.3f}", end="")
                print(f" | {row['jsonl_bytes']:.0f} | {row['parquet_bytes']:.1f} |", flush=True)
            else:
                print(" | | | | | | |", flush=True)


def _child(what: str, mix: str, size: str, directory: str) -> str:
    command = [sys.executable, "-m", "benchmarks.check", "--directory", directory, "--one", what, mix, size]
    # One core: numpy sorts and gathers on one anyway, its linear algebra threads are not used.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


if __name__ == "__main__":
    main()
