"""Operations as a person reads them in a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.columns import (
    NONE,
    OPERATORS,
    TARGETS,
    CompareCol,
    Kind,
    LeafCol,
    NodeCol,
    OpCol,
    RefusalCol,
    WaitCol,
)
from tester.history.records import (
    ClockRecord,
    Compact,
    Delete,
    Invoke,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
    Operation,
    Put,
    Range,
    Txn,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.history.operations import Operations
    from tester.history.table import Columns

_LONGEST = 6
"""Steps or conditions of a transaction that are spelled out."""


def describe_invoke(invoke: Invoke, outcome: str) -> str:
    """A request and its outcome, for operations that were not acknowledged."""
    text = describe_request(invoke.op)
    who = f"client {invoke.c} at {invoke.m}"
    return f"operation {invoke.id}: {text} by {who}, {outcome}, called {_at(invoke.at)}"


def describe_unanswered(row: Columns, members: Sequence[str]) -> str:
    """What of an operation without an answer is kept: a row of ``WaitCol``."""
    what = Kind(int(row[WaitCol.KIND])).name.lower()
    who = f"client {row[WaitCol.CLIENT]} at {members[row[WaitCol.MEMBER]]}"
    return f"operation {row[WaitCol.ID]}: {what} by {who}, not answered, called {_at(int(row[WaitCol.CALL]))}"


def describe_refusal(row: Columns, members: Sequence[str]) -> str:
    """What of an operation that was refused is kept: a row of ``RefusalCol``."""
    what = f"{Kind(int(row[RefusalCol.KIND])).name.lower()} at revision {row[RefusalCol.AT]}"
    who = f"client {row[RefusalCol.CLIENT]} at {members[row[RefusalCol.MEMBER]]}"
    why = "a future one" if row[RefusalCol.FUTURE] else "compacted"
    times = f"{_at(int(row[RefusalCol.CALL]))} to {_at(int(row[RefusalCol.RET]))}"
    return f"operation {row[RefusalCol.ID]}: {what} by {who}, refused as {why}, {times}"


def describe_clock(record: ClockRecord) -> str:
    """How a load host's clock stood to the run clock."""
    offset, error = f"{record.offset / 1e9:+.6f} s", f"{record.error / 1e6:.3f} ms"
    lost = f"; not to be relied on: {record.lost}" if record.lost else ""
    return f"load host {record.host}: its clock less the run clock is {offset}, give or take {error}{lost}"


def describe_joined(operations: Operations, members: Sequence[str], operation_id: int) -> str:
    """An acknowledged operation: what it did, who asked whom, when, and the revision of the answer."""
    row = operations.row_of(operation_id)
    if row is None:
        return f"operation {operation_id}"
    op = operations.rows.columns[:, row]
    text = _executed(operations, row)
    who = f"client {op[OpCol.CLIENT]} at {members[op[OpCol.MEMBER]]}"
    times = f"{_at(int(op[OpCol.CALL]))} to {_at(int(op[OpCol.RET]))}"
    return f"operation {operation_id}: {text} by {who}, ok at revision {op[OpCol.REV]}, {times}"


def describe_request(op: Operation) -> str:
    """What was asked for."""
    match op:
        case Put():
            return f"put {op.k} = {op.v}{f' lease {op.l}' if op.l else ''}"
        case Range():
            return f"range {_span(op.k, op.e)}{f' at revision {op.r}' if op.r else ''}"
        case Delete():
            return f"delete {_span(op.k, op.e)}"
        case Compact():
            return f"compact {op.r}"
        case LeaseGrant():
            return f"grant lease {op.l} for {op.ttl} s"
        case LeaseRevoke():
            return f"revoke lease {op.l}"
        case LeaseKeepAlive():
            return f"keep lease {op.l} alive"
        case LeaseTimeToLive():
            return f"time to live of lease {op.l}"
        case Txn():
            conditions = [f"{c.target}({_span(c.k, c.e)}) {c.op} {c.x}" for c in op.cmp]
            then = _joined([describe_request(step) for step in op.then])
            orelse = _joined([describe_request(step) for step in op.orelse])
            return f"txn if {_joined(conditions)} then {then} else {orelse}"


def _executed(operations: Operations, row: int) -> str:
    rows = operations.rows.columns
    first = int(rows[OpCol.LEAF, row])
    last = int(rows[OpCol.LEAF, row + 1]) if row + 1 < rows.shape[1] else len(operations.leaves)
    steps = [_leaf(operations, leaf) for leaf in range(first, min(last, first + _LONGEST + 1))]
    if rows[OpCol.KIND, row] != Kind.TXN:
        return steps[0]
    nodes = operations.nodes.columns
    node = int(nodes[NodeCol.OP].searchsorted(row))
    branch = "then" if nodes[NodeCol.SUCCEEDED, node] else "else"
    return f"txn if {_joined(_conditions(operations, node))} took {branch}: {_joined(steps)}"


def _conditions(operations: Operations, node: int) -> list[str]:
    compares = operations.compares.columns
    texts = []
    first, last = compares[CompareCol.NODE].searchsorted([node, node + 1])
    for row in range(int(first), min(int(last), int(first) + _LONGEST + 1)):
        _, key, end, target, operator, x = (int(number) for number in compares[:, row])
        value = operations.values.texts[x] if TARGETS[target] == "value" else x
        span = _span(operations.keys.texts[key], _text(operations, end))
        texts.append(f"{TARGETS[target]}({span}) {OPERATORS[operator]} {value}")
    return texts


def _leaf(operations: Operations, row: int) -> str:
    leaf = operations.leaves.columns[:, row]
    kind = Kind(int(leaf[LeafCol.KIND]))
    span = _span(_text(operations, int(leaf[LeafCol.KEY])), _text(operations, int(leaf[LeafCol.END])))
    match kind:
        case Kind.PUT:
            lease = f" lease {leaf[LeafCol.LEASE]}" if leaf[LeafCol.LEASE] else ""
            return f"put {span} = {operations.values.texts[leaf[LeafCol.VALUE]]}{lease}"
        case Kind.DELETE:
            return f"delete {span} (deleted {leaf[LeafCol.COUNT]})"
        case Kind.RANGE:
            at = f" at revision {leaf[LeafCol.AT]}" if leaf[LeafCol.AT] else ""
            return f"range {span}{at} (count {leaf[LeafCol.COUNT]})"
        case Kind.COMPACT:
            return f"compact {leaf[LeafCol.AT]}"
        case Kind.REVOKE:
            return f"revoke lease {leaf[LeafCol.LEASE]}"
        case _:
            what = {Kind.GRANT: "grant lease", Kind.KEEPALIVE: "keep alive lease"}.get(
                kind, "time to live of lease"
            )
            return f"{what} {leaf[LeafCol.LEASE]} ({leaf[LeafCol.COUNT]} s)"


def _text(operations: Operations, key: int) -> str:
    return operations.keys.texts[key] if key != NONE else ""


def _span(key: str, end: str) -> str:
    if not end:
        return key
    return f"[{key}, {'end)' if end == chr(0) else end + ')'}"


def _joined(parts: list[str]) -> str:
    more = ["…"] if len(parts) > _LONGEST else []
    return "; ".join(parts[:_LONGEST] + more) or "nothing"


def _at(at: int) -> str:
    return f"{at / 1e9:.6f} s"
