"""How long the verdict ``linearizable`` takes, how much memory, how that grows, and what reading costs.

    python -m benchmarks.check [--sizes 10000,100000,1000000] [--mixes single,unknown,mixed]

Each row is a process of its own, so that its peak memory is its own. Seconds are of processor time on one core.
A check is measured once in a fresh process, where every array is memory that the kernel must first find and
clear, and once again; its control is a bare sort of the same columns in the same process: revision with real
time, key with revision. Reading is counted apart, from JSONL and from Parquet; its control is decoding the same
lines into nothing. Ten million operations take some 8 GB of memory and 4 GB of ``--directory``.
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
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tester.checkers import run_checkers
from tester.history.columns import LeafCol, OpCol
from tester.history.endstate import EndState
from tester.history.loading import load_history
from tester.history.parquet import write_parquet
from tester.history.reader import HistoryReader, read_history
from tester.history.records import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    Ok,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
    Watched,
    WatchStart,
)
from tester.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.history import History

MIXES = ("single", "unknown", "mixed")
"""Puts, gets and deletes of single keys; the same with 5 % unknown outcomes; with a third of ranges, range
deletions and transactions."""

_STEP_NS = 10_000
_OVERLAP_NS = 80_000
"""Operations begin and end up to this long before and after they take effect: about eight at a time."""


@dataclass(slots=True)
class Source:
    """A right history of a single store, made as it is read."""

    mix: str
    operations: int
    keys: int = 100
    rng: Random = field(default_factory=lambda: Random(1))  # noqa: S311 - replayable, not secret
    revision: int = 1
    live: dict[str, KeyValue] = field(default_factory=dict)
    changes: list[Event] = field(default_factory=list)

    def records(self) -> Iterator[HistoryRecord]:
        """The lines of the file."""
        yield Header(1, "run", 1, self.mix, 1, 0, "k", ("m1", "m2", "m3"))
        yield WatchStart(1, 0, "m1", "k", 1, "l")
        unknown = 0.05 if self.mix == "unknown" else 0.0
        for number in range(1, self.operations + 1):
            at = number * _STEP_NS
            op = self._operation(number)
            yield Invoke(number, at - self.rng.randrange(_OVERLAP_NS), number % 8, f"m{number % 3 + 1}", op)
            lost = self.rng.random() < unknown
            out = self._apply(op) if not lost or self.rng.random() < 0.5 else None
            if lost:
                yield Info(number, at + _OVERLAP_NS, "DEADLINE_EXCEEDED")
            else:
                yield Ok(number, at + self.rng.randrange(_OVERLAP_NS), self.revision, 2, out)
            if self.changes:
                yield Watched(1, at + _OVERLAP_NS, self.revision, tuple(self.changes))
                self.changes.clear()
        yield Watched(1, (self.operations + 20) * _STEP_NS, self.revision)

    def _key(self) -> str:
        return f"k{self.rng.randrange(self.keys):06d}"

    def _operation(self, number: int) -> Operation:
        chance = self.rng.random()
        if self.mix == "mixed" and chance < 0.33:
            return self._complex(number, chance)
        if chance < 0.7:
            return Range(self._key()) if number % 2 else Put(self._key(), f"{number}:100")
        return Put(self._key(), f"{number}:100") if chance < 0.95 else Delete(self._key())

    def _complex(self, number: int, chance: float) -> Operation:
        key = self._key()
        if chance < 0.12:
            return Range(key, "l", n=10)
        if chance < 0.14:
            return Delete(key, f"{key}0")
        known = self.live.get(key)
        compare = Compare(key, "mod", "=", known.m if known and chance < 0.3 else 0)
        return Txn((compare,), (Put(key, f"{number}:100"), Range(self._key())), (Range(key),))

    def _apply(self, op: Operation) -> Result | None:
        match op:
            case Put():
                self.revision += 1
                self._put(op)
                return None
            case Txn():
                return self._apply_txn(op)
            case Delete():
                found = [op.k] if op.k in self.live else []
                for key in found:
                    self.revision += 1
                    del self.live[key]
                    self.changes.append(Event(key, self.revision, d=True))
                return DeleteResult(len(found))
            case Range():
                return self._range(op)
            case _:
                raise TypeError(op)

    def _put(self, op: Put) -> None:
        old = self.live.get(op.k)
        create, version = (old.c, old.ver + 1) if old else (self.revision, 1)
        self.live[op.k] = KeyValue(op.k, op.v, create, self.revision, version)
        self.changes.append(Event(op.k, self.revision, op.v, create, version))

    def _apply_txn(self, op: Txn) -> TxnResult:
        known = self.live.get(op.cmp[0].k)
        succeeded = (known.m if known else 0) == op.cmp[0].x
        responses: list[PutResult | RangeResult] = []
        for step in op.then if succeeded else op.orelse:
            if isinstance(step, Put):
                self.revision += 1
                self._put(step)
                responses.append(PutResult())
            elif isinstance(step, Range):
                responses.append(self._range(step))
        return TxnResult(succeeded, tuple(responses))

    def _range(self, op: Range) -> RangeResult:
        if not op.e:
            found = [self.live[op.k]] if op.k in self.live else []
            return RangeResult(tuple(found), len(found))
        keys = [key for key in sorted(self.live) if key >= op.k]
        return RangeResult(tuple(self.live[key] for key in keys[: op.n]), len(keys), len(keys) > op.n)


def make(mix: str, operations: int, directory: Path) -> None:
    """Write a history in both forms."""
    encode = msgspec.json.Encoder().encode_lines
    records = Source(mix, operations).records()
    with (directory / "history.jsonl").open("wb") as file:
        while batch := list(islice(records, 10_000)):
            file.write(encode(batch))
    write_parquet(read_history(directory / "history.jsonl"), directory / "history.parquet")


def measure(operations: int, directory: Path) -> dict[str, float]:
    """One row, in this process; all but what reading Parquet costs."""
    jsonl, parquet = directory / "history.jsonl", directory / "history.parquet"
    started = time.process_time()
    history = load_history(jsonl)
    # Reading ends with all columns made.
    tables = (history.events, history.responses, history.previous)
    _ = [table.columns for table in (*tables, *history.operations.tables)]
    reading = time.process_time() - started
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
        "jsonl": reading,
        "jsonl_bytes": jsonl.stat().st_size / operations,
        "parquet_bytes": sum(file.stat().st_size for file in parquet.iterdir()) / operations,
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


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000")
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
    print(" | JSONL s | decoding s | Parquet s | JSONL B/op | Parquet B/op |")
    print("|---|" + "---:|" * 12)
    for mix in arguments.mixes.split(","):
        for size in arguments.sizes.split(","):
            with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
                _child("make", mix, size, directory)
                row = json.loads(_child("jsonl", mix, size, directory))
                row |= json.loads(_child("parquet", mix, size, directory))
            print(
                f"| {mix} | {size} | {row['first']:.3f} | {row['again']:.3f} | {row['control']:.3f}"
                f" | {row['again'] / row['control']:.1f} | {row['peak']} | {row['history']}"
                f" | {row['jsonl']:.3f} | {row['decoding']:.3f} | {row['parquet']:.3f}"
                f" | {row['jsonl_bytes']:.0f} | {row['parquet_bytes']:.1f} |",
                flush=True,
            )


def _child(what: str, mix: str, size: str, directory: str) -> str:
    command = [sys.executable, "-m", "benchmarks.check", "--directory", directory, "--one", what, mix, size]
    # One core: numpy sorts and gathers on one anyway, its linear algebra threads are not used.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


if __name__ == "__main__":
    main()
