"""Histories of a single store for ``benchmarks.check``: right, as long as one likes, replayable."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import msgspec

from tester.history.columns import (
    NONE,
    ROWS,
    CompareCol,
    EventCol,
    KvCol,
    LeafCol,
    OpCol,
    ResponseCol,
)
from tester.history.history import History
from tester.history.parquet import write_parquet
from tester.history.reader import read_history
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TURN = 1_000_000
"""Operations of a history that is made one by one."""

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
            op = self._operation(number) if number <= self.operations - self.keys else self._last(number)
            yield Invoke(number, at - self.rng.randrange(_OVERLAP_NS), number % 8, f"m{number % 3 + 1}", op)
            lost = number <= self.operations - self.keys and self.rng.random() < unknown
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

    def _last(self, number: int) -> Operation:
        """Of the last operations: each deletes a key, so that nothing is left."""
        return Delete(f"k{self.operations - number:06d}")

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


_STEPS: dict[str, dict[int, str]] = {
    "operations": {OpCol.ID: "id", OpCol.CALL: "time", OpCol.RET: "time", OpCol.REV: "rev"},
    "leaves": {LeafCol.VALUE: "value"},
    "answers": {KvCol.VALUE: "value", KvCol.CREATE: "rev", KvCol.MOD: "rev"},
    "conditions": {CompareCol.X: "rev"},
    "responses": {ResponseCol.AT: "time", ResponseCol.REV: "rev"},
    "events": {EventCol.REV: "rev", EventCol.VALUE: "value", EventCol.CREATE: "rev"},
}
"""By table, the columns that are other ones in each turn, beside rows of other tables, and what they count."""


def make(mix: str, operations: int, directory: Path) -> None:
    """Write a history, or one turn of it, in both forms."""
    operations = min(operations, TURN)
    encode = msgspec.json.Encoder().encode_lines
    records = Source(mix, operations).records()
    with (directory / "history.jsonl").open("wb") as file:
        while batch := list(islice(records, 10_000)):
            file.write(encode(batch))
    write_parquet(read_history(directory / "history.jsonl"), directory / "history.parquet")


def repeated(history: History, turns: int) -> History:
    """A history of as many turns of this one, which begins and ends with an empty store."""
    ops = history.operations.rows.columns
    steps = {
        "id": int(ops[OpCol.ID].max()),
        "time": int(ops[OpCol.RET].max()) + 2 * _OVERLAP_NS,
        "rev": int(ops[OpCol.REV].max()) - 1,
        "value": len(history.values),
    }
    longer = History()
    longer.header, longer.sessions = history.header, history.sessions
    longer.keys.fill(history.keys.texts)
    longer.members.fill(history.members.texts)
    longer.values.fill([f"{turn}/{text}" for turn in range(turns) for text in history.values.texts])
    for name, table in history.tables.items():
        target, columns, moved = longer.tables[name], table.columns, ROWS[name] | _STEPS.get(name, {})
        rows = target.grow(turns * columns.shape[1])
        for turn in range(turns):
            block = rows[:, turn * columns.shape[1] : (turn + 1) * columns.shape[1]]
            block[:] = columns
            for column, by in moved.items():
                step = steps[by] if by in steps else len(history.tables[by])
                # What stands for "none" or "not there yet" does so in each turn.
                block[column, columns[column] > (0 if by == "rev" else NONE)] += turn * step
    _repeat_unknown(history, longer, turns, steps)
    return longer


def _repeat_unknown(history: History, longer: History, turns: int, steps: dict[str, int]) -> None:
    for turn in range(turns):
        for invoke in history.unknown_writes():
            op = invoke.op
            if isinstance(op, Put):
                op = msgspec.structs.replace(op, v=f"{turn}/{op.v}")
            number, at = invoke.id + turn * steps["id"], invoke.at + turn * steps["time"]
            asked = Invoke(number, at, invoke.c, invoke.m, op)
            longer.extend([asked, Info(number, at + _OVERLAP_NS, "DEADLINE_EXCEEDED")])
