"""What of a history other people's checkers of registers can judge, and what must be left out.

A key is a register: absent, or a value. ``docs/history.md`` says what becomes of each operation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tester.errors import UsageError
from tester.history.keyranges import in_range
from tester.history.mismatch import without_question
from tester.history.operations import is_write
from tester.history.records import (
    Compact,
    Compare,
    Delete,
    EpochRecord,
    Fail,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
    Ok,
    Operation,
    Put,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
    Watched,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class RegisterOperation:
    """One access to one register; ``None`` is the absent value."""

    f: Literal["read", "write", "cas"]
    key: str
    value: str | None
    """Read (``None`` as well while that is not known), or written."""
    old: str | None = None
    """What ``cas`` asks for."""


@dataclass(slots=True)
class Registers:
    """A history as accesses to registers."""

    operations: dict[int, RegisterOperation] = field(default_factory=dict)
    """By id; what is not here cannot be told to a checker of registers."""
    refused: set[int] = field(default_factory=set)
    """``cas`` that was answered, but did not find what it asked for."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Operations that are not here, by reason."""


def as_registers(records: Iterable[HistoryRecord]) -> Registers:
    """Translate what can be translated.

    A key that something wrote to which no register can do is left out with all its operations, because the
    others could not be explained without it. A read that cannot be translated is only left out itself.

    Raises:
        HistoryMismatchError: an operation ends that was not invoked.
        UsageError: the history has more than one cluster in it.
    """
    translator = _Translator()
    for record in records:
        if isinstance(record, EpochRecord):
            raise UsageError(
                "the cluster of this history was lost and restored from a snapshot: no register forgets by design",
                remedy="etcd-chaos check judges it; as Parquet it is kept as it is",
            )
        translator.take(record)
    return translator.finish()


class _Translator:
    def __init__(self) -> None:
        self._invokes: dict[int, Invoke] = {}
        self._answers: dict[int, Ok] = {}
        self._values: dict[tuple[str, int], str] = {}
        """By key and mod revision: what conditions on revisions mean."""
        self._keys: set[str] = set()
        self._spoiled: set[str] = set()
        self._deleted_ranges: list[Delete] = []

    def take(self, record: HistoryRecord) -> None:
        """One record."""
        match record:
            case Invoke():
                self._invokes[record.id] = record
            case Ok():
                self._answers[record.id] = record
                if record.id not in self._invokes:
                    raise without_question(record.id)
                self._learn(self._invokes[record.id].op, record.out, record.rev)
            case Watched():
                for event in record.ev:
                    self._keys.add(event.k)
                    if not event.d:
                        self._values[event.k, event.m] = event.v
            case _:
                pass

    def finish(self) -> Registers:
        """The translation; all records were taken."""
        found = Registers()
        translated = {number: self._translate(invoke) for number, invoke in self._invokes.items()}
        for number, operation in translated.items():
            if isinstance(operation, str):
                self._spoil(self._invokes[number].op)
        for wide in self._deleted_ranges:
            self._spoiled |= {key for key in self._keys if in_range(key, wide.k, wide.e)}
        for number, operation in translated.items():
            if isinstance(operation, str):
                found.left_out[operation] += 1
            elif operation.key in self._spoiled:
                found.left_out["its key was written by something that is not an access to one register"] += 1
            else:
                found.operations[number] = operation
                answer = self._answers.get(number)
                if answer is not None and isinstance(answer.out, TxnResult) and not answer.out.succeeded:
                    found.refused.add(number)
        return found

    def _learn(self, op: Operation, out: Result | None, revision: int) -> None:
        match op, out:
            case Put(), _:
                self._values[op.k, revision] = op.v
            case Range(), RangeResult():
                if not op.keys_only:
                    self._values.update({(kv.k, kv.m): kv.v for kv in out.kv})
            case Txn(), TxnResult():
                for step, answer in zip(op.then if out.succeeded else op.orelse, out.responses, strict=True):
                    self._learn(step, answer, revision)
            case _:
                pass

    def _translate(self, invoke: Invoke) -> RegisterOperation | str:
        """The operation, or why there is none."""
        answer = self._answers.get(invoke.id)
        match invoke.op:
            case Put(l=0) as op:
                self._keys.add(op.k)
                return RegisterOperation("write", op.k, op.v)
            case Delete(e="") as op:
                self._keys.add(op.k)
                return RegisterOperation("write", op.k, None)
            case Range(e="", r=0, s=False, keys_only=False, count_only=False) as op:
                out = answer.out if answer is not None else None
                kvs: tuple[KeyValue, ...] = out.kv if isinstance(out, RangeResult) else ()
                return RegisterOperation("read", op.k, kvs[0].v if kvs else None)
            case Txn() as op:
                return self._translate_txn(op) or "transactions other than compare-and-set of one key"
            case Put():
                return "put with a lease"
            case Delete():
                return "deletion of a range"
            case Range():
                return "range other than the newest value of one key"
            case Compact() | LeaseGrant() | LeaseRevoke() | LeaseKeepAlive() | LeaseTimeToLive():
                return "compaction and leases"

    def _translate_txn(self, txn: Txn) -> RegisterOperation | None:
        match txn:
            case Txn(cmp=(Compare(e="", op="=") as compare,), then=(Put(l=0) as put,)) if compare.k == put.k:
                pass
            case _:
                return None
        if txn.orelse not in {(), (Range(put.k),)}:
            return None
        self._keys.add(put.k)
        if compare.target == "value":
            return RegisterOperation("cas", put.k, put.v, str(compare.x))
        if compare.x == 0 and compare.target in {"mod", "create", "version"}:
            return RegisterOperation("cas", put.k, put.v, None)
        # The load writes no value twice: the value of a revision is as good as the revision.
        old = self._values.get((put.k, int(compare.x))) if compare.target == "mod" else None
        return RegisterOperation("cas", put.k, put.v, old) if old is not None else None

    def _spoil(self, op: Operation) -> None:
        match op:
            case Put():
                self._spoiled.add(op.k)
            case Delete() if op.e:
                self._deleted_ranges.append(op)
            case Delete():
                self._spoiled.add(op.k)
            case Txn() if is_write(op):
                for step in (*op.then, *op.orelse):
                    self._spoil(step)
            case _:
                pass


def outcome_of(record: HistoryRecord, registers: Registers) -> str | None:
    """What a checker of registers is told of the end of an operation; ``None``: the record is no such end."""
    match record:
        case Ok():
            return "fail" if record.id in registers.refused else "ok"
        case Fail():
            return "fail"
        case Info():
            return "info"
        case _:
            return None
