"""What a batch of operations did, step by step: transactions taken apart, kinds kept apart, columns not made yet."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from tester.history.columns import OPERATORS, TARGETS, Kind
from tester.history.mismatch import HistoryMismatchError
from tester.history.records import (
    Compact,
    Compare,
    Delete,
    DeleteResult,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    LeaseRevoke,
    LeaseTimeToLive,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Looked up for every operation: a member of an IntEnum costs several times as much as an int.
_PUT, _DELETE, _RANGE = int(Kind.PUT), int(Kind.DELETE), int(Kind.RANGE)
_COMPARED = {target: str if target == "value" else int for target in TARGETS}
"""What each target is compared with."""


class Steps:
    """The puts, deletes, ranges and lease calls that ran, and what they were answered with.

    Each list of a kind is in the order of the steps. One loop, nothing called for plain operations: reading a
    history costs what this loop costs.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        """``ids`` of the operations; an *owner* is a place among them."""
        self._ids = ids
        self.owners: list[int] = []
        self.kinds: list[int] = []
        self.puts: list[Put] = []
        self.deletes: list[tuple[Delete, DeleteResult]] = []
        self.ranges: list[Range] = []
        self.found: list[RangeResult] = []
        """Answers of ``ranges``."""
        self.others: list[tuple[int, int, int, int]] = []
        """Lease, TTL, revision and granted TTL of each call that touches no key by name."""
        self.nodes: list[int] = []
        """Owner of each transaction that ran."""
        self.succeeded: list[bool] = []
        self.compares: list[Compare] = []
        self.compared: list[int] = []
        """Place among ``nodes`` of each condition's transaction."""

    def add(self, owners: Iterable[int], asked: Iterable[Operation], told: Iterable[Result | None]) -> None:
        """Take operations, or the steps of a transaction, with their answers.

        Raises:
            HistoryMismatchError: an answer is of another kind than its question.
        """
        for owner, op, out in zip(owners, asked, told):  # noqa: B905 - the owner of a transaction repeats
            if type(op) is Range and type(out) is RangeResult:
                kind = _RANGE
                self.ranges.append(op)
                self.found.append(out)
            elif type(op) is Put and (out is None or type(out) is PutResult):
                kind = _PUT
                self.puts.append(op)
            elif type(op) is Txn and type(out) is TxnResult:
                self._add_txn(owner, op, out)
                continue
            elif type(op) is Delete and type(out) is DeleteResult:
                kind = _DELETE
                self.deletes.append((op, out))
            else:
                kind = self._add_other(owner, op, out)
            self.kinds.append(kind)
            self.owners.append(owner)

    def _add_txn(self, owner: int, txn: Txn, out: TxnResult) -> None:
        for compare in txn.cmp:
            if type(compare.x) is not _COMPARED.get(compare.target) or compare.op not in OPERATORS:
                raise self._mismatch(owner, f"{compare.target} {compare.op} {compare.x!r} is no comparison")
            self.compares.append(compare)
            self.compared.append(len(self.nodes))
        self.nodes.append(owner)
        self.succeeded.append(out.succeeded)
        steps = txn.then if out.succeeded else txn.orelse
        if len(steps) != len(out.responses):
            raise self._mismatch(
                owner, f"{len(steps)} steps of a transaction answered with {len(out.responses)}"
            )
        self.add(repeat(owner), steps, out.responses)

    def _add_other(self, owner: int, op: Operation, out: Result | None) -> int:
        match op:
            case Compact() if out is None:
                kind, told = Kind.COMPACT, (0, 0, op.r, 0)
            case LeaseGrant() if isinstance(out, LeaseResult):
                kind, told = Kind.GRANT, (op.l, out.ttl, 0, 0)
            case LeaseKeepAlive() if isinstance(out, LeaseResult):
                kind, told = Kind.KEEPALIVE, (op.l, out.ttl, 0, 0)
            case LeaseTimeToLive() if isinstance(out, LeaseResult):
                kind, told = Kind.TTL, (op.l, out.ttl, 0, out.granted)
            case LeaseRevoke() if out is None or isinstance(out, LeaseResult):
                kind, told = Kind.REVOKE, (op.l, 0, 0, 0)
            case _:
                answer = type(out).__name__ if out is not None else "nothing"
                raise self._mismatch(owner, f"{type(op).__name__} answered with {answer}")
        self.others.append(told)
        return kind

    def _mismatch(self, owner: int, text: str) -> HistoryMismatchError:
        return HistoryMismatchError(f"operation {self._ids[owner]}: {text}")
